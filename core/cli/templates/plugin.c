/*
 * The plugin @NAME@: one stage, @NAME@/hello, which greets whoever its input names.
 *
 * A stage is declared as data, at the end of this file; describing a plugin runs none of its code.
 * It runs in a process of its own: create() once, process() for each job, destroy() at the end.
 * <sluice/plugin.h> says what is promised.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/plugin.h>

struct hello {
    const struct sluice_host *host;
    const char *greeting; /* borrowed from the host until destroy() */
    int64_t times;
};

/* ---- Work ------------------------------------------------------------------------------------ */

struct writer {
    char *out; /* the output, mapped; NULL while only its length is counted */
    uint64_t len;
};

static void add(struct writer *w, const char *text, uint64_t len) {
    if (w->out)
        memcpy(w->out + w->len, text, len);
    w->len += len;
}

/* Lines of "GREETING, NAME!". */
static void greet(struct writer *w, const struct hello *h, const char *name, uint64_t name_len) {
    for (int64_t i = 0; i < h->times; i++) {
        add(w, h->greeting, strlen(h->greeting));
        add(w, ", ", 2);
        add(w, name, name_len);
        add(w, "!\n", 2);
    }
}

/* ---- The stage ------------------------------------------------------------------------------- */

static int32_t create(const struct sluice_host *host, void **ret_self) {
    struct hello *h = calloc(1, sizeof *h);
    if (!h) {
        host->error(host, "out of memory");
        return SLUICE_RESOURCE;
    }
    h->host = host;
    int32_t rc = host->param_string(host, "greeting", &h->greeting);
    if (rc == SLUICE_OK)
        rc = host->param_int(host, "times", &h->times);
    if (rc < 0) {
        host->error(host, "a parameter cannot be read");
        free(h);
        return rc;
    }
    *ret_self = h;
    return SLUICE_OK;
}

/* On failure: say why with host->fail(), and return the class that decides about a retry
 * (<sluice/types.h>). */
static int32_t process(void *self, struct sluice_job *job) {
    const struct hello *h = self;
    const struct sluice_host *host = h->host;
    struct sluice_view name = {.size = SLUICE_SIZED(struct sluice_view)};
    int32_t rc = host->input(job, "name", &name);
    if (rc == SLUICE_UNSUPPORTED) { /* optional, and not connected */
        name.data = "world";
        name.len = 5;
    } else if (rc < 0) {
        host->fail(job, "the input \"name\" cannot be read");
        return rc;
    }
    while (name.len > 0 && ((const char *)name.data)[name.len - 1] == '\n')
        name.len--;
    if (name.len == 0) {
        host->fail(job, "the input \"name\" is empty, so there is nobody to greet");
        return SLUICE_INPUT; /* never retried: nobody can process this */
    }

    /* Work that takes long calls progress() as its heartbeat, and stops within a second of being
     * cancelled. */
    host->progress(job, 0, "greeting");
    if (host->cancelled(job))
        return SLUICE_CANCELLED;

    struct writer w = {NULL, 0};
    void *data;
    greet(&w, h, name.data, name.len);
    rc = host->output_grow(job, "text", w.len, &data);
    if (rc < 0)
        return rc; /* the host has said why */
    w = (struct writer){data, 0};
    greet(&w, h, name.data, name.len);
    return host->output_commit(job, "text", w.len);
}

static void destroy(void *self) {
    free(self);
}

/* ---- The declaration ------------------------------------------------------------------------- */

static const struct sluice_port name_in = {
    .size = SLUICE_SIZED(struct sluice_port),
    .flags = SLUICE_PORT_OPTIONAL,
    .name = "name",
    .type = SLUICE_TYPE_TEXT,
    .doc = "Who is greeted; without it the world is.",
};
static const struct sluice_port text_out = {
    .size = SLUICE_SIZED(struct sluice_port),
    .name = "text",
    .type = SLUICE_TYPE_TEXT,
    .doc = "The greeting.",
};
static const struct sluice_param greeting_param = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_STRING,
    .name = "greeting",
    .default_value = "Hello",
    .doc = "The word before the name.",
};
static const struct sluice_param times_param = {
    .size = SLUICE_SIZED(struct sluice_param),
    .kind = SLUICE_PARAM_INT,
    .flags = SLUICE_PARAM_RANGED,
    .name = "times",
    .default_value = "1",
    .min = 1,
    .max = 100,
    .doc = "How often the greeting is written.",
};

static const struct sluice_port *const inputs[] = {&name_in, NULL};
static const struct sluice_port *const outputs[] = {&text_out, NULL};
static const struct sluice_param *const params[] = {&greeting_param, &times_param, NULL};

static const struct sluice_stage hello = {
    .size = SLUICE_SIZED(struct sluice_stage),
    .flags = SLUICE_STAGE_DETERMINISTIC, /* same inputs and parameters give the same bytes: tested
                                            by the check */
    .id = "@NAME@/hello",
    .version = "1", /* of the results: change it when they change */
    .summary = "Greets somebody.",
    .inputs = inputs,
    .outputs = outputs,
    .params = params,
    .create = create,
    .process = process,
    .destroy = destroy,
};
static const struct sluice_stage *const stages[] = {&hello, NULL};

SLUICE_EXPORT const struct sluice_plugin sluice_plugin_entry = {
    SLUICE_PLUGIN_HEADER, .name = "@NAME@", .version = "0.1.0", .licence = "MIT", .stages = stages};
