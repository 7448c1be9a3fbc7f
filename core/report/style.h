/* The page's style sheet: light by default, dark where the reader's scheme is. */
#ifndef REPORT_STYLE_H
#define REPORT_STYLE_H

extern const char sl_report_style[];

#endif
