/* The files that `sluice plugin new` starts from, built into the program from templates/. */
#ifndef CLI_TEMPLATES_H
#define CLI_TEMPLATES_H

struct sl_template {
    const char *name; /* of the file in templates/ */
    const char *text; /* with @WORDS@ to be replaced */
};

/* Ends with a row without a name. */
extern const struct sl_template sl_templates[];

#endif
