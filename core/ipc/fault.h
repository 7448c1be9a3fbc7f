/* Faults that `sluice run --inject` puts into attempts; the host carries them out
 * (worker/strike.c). */
#ifndef IPC_FAULT_H
#define IPC_FAULT_H

/* Numbers travel in SL_FRAME_FAULT. */
enum sl_fault {
    SL_FAULT_NONE,
    SL_FAULT_CRASH,     /* the process ends by a segmentation fault */
    SL_FAULT_HANG,      /* nothing happens any more; neither a cancellation nor a heartbeat */
    SL_FAULT_OOM,       /* the job fails as RESOURCE */
    SL_FAULT_TRANSIENT, /* the job fails as TRANSIENT */
    SL_FAULT_GARBAGE,   /* every output is bytes that mean nothing */
    SL_FAULT_SLOW,      /* SL_FAULT_SLOW_S, with a heartbeat, and then the job */
    SL_FAULT_N,
};

#define SL_FAULT_SLOW_S 5

/* "crash"... of a fault; "none" of any other number. */
const char *sl_fault_name(int fault);
/* The names, ended by NULL; the first is that of SL_FAULT_CRASH. */
extern const char *const sl_fault_names[];
/* SL_FAULT_NONE: no fault has this name. */
enum sl_fault sl_fault_from_name(const char *name);

#endif
