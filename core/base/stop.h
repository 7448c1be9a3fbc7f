/* Ctrl-C as something to wait for. */
#ifndef BASE_STOP_H
#define BASE_STOP_H

/* Blocks SIGINT and SIGTERM and gives a descriptor (close-on-exec, non-blocking) that is readable
 * once one of them came; below 0: errno says why there is none. */
int sl_stop_open(void);

#endif
