/*
 * The ledger of memory: what workers hold of the machine and of its cards, and whether one more
 * fits. Pure: no process, no clock, no driver; admission.c brings it what the driver and /proc say.
 *
 * An entry (a hold) belongs to a worker, not to a task: from before its spawn until its memory is
 * seen to be back. A worker that is ready and has nothing to do holds what it holds.
 *
 *   BUSY     spawned, starting or at work
 *   IDLE     ready, no job: may be evicted
 *   LEAVING  told to stop, still alive
 *   GONE     reaped; the card does not show its memory back yet (late release, sl_ledger_see())
 *
 * What is free on a card is the smaller of two readings, since neither is enough:
 *   own      capacity - foreign - the sum of what is reserved or used: knows what was admitted and
 *            not yet allocated
 *   driver   free: knows what other processes take
 * `foreign` is what the card shows as used and no worker of ours explains, kept from the last
 * reading without GONE holds.
 */
#ifndef SCHED_LEDGER_H
#define SCHED_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#define SL_LEDGER_MAX_DEVICES 64
#define SL_LEDGER_MAX_EVICT   32
/* A need of GPU memory that nobody knows: the card alone */
#define SL_LEDGER_ALL UINT64_MAX

enum sl_hold_state { SL_HOLD_BUSY, SL_HOLD_IDLE, SL_HOLD_LEAVING, SL_HOLD_GONE };

struct sl_hold {
    struct sl_hold *next; /* in the ledger */
    void *owner;          /* the caller's */
    enum sl_hold_state state;
    int device;                     /* index of the card; -1: none */
    uint64_t memory, gpu_memory;    /* reserved; gpu_memory may be SL_LEDGER_ALL */
    uint64_t memory_seen, gpu_seen; /* used, when last looked at */
    int64_t memory_seen_ms;         /* the caller's: when it looked */
    int64_t idle_since_ms; /* while IDLE: the longest idle is evicted first; GONE: since when */
};

struct sl_ledger_device {
    uint64_t capacity; /* what processes can have of it; 0: not usable (lost, divided) */
    uint64_t free;     /* by the driver; SL_LEDGER_ALL: it does not say */
    uint64_t foreign;
};

struct sl_ledger {
    uint64_t memory_capacity; /* of the machine or its container */
    uint64_t memory_free;     /* available now */
    int n_devices;
    struct sl_ledger_device devices[SL_LEDGER_MAX_DEVICES];
    struct sl_hold *holds;
};

/* Holds are the caller's and stay where they are while they are in the ledger. */
void sl_ledger_add(struct sl_ledger *l, struct sl_hold *hold);
/* One that is not there is fine. */
void sl_ledger_remove(struct sl_ledger *l, struct sl_hold *hold);

/*
 * The driver's reading of a card. `by_process`: it names processes, so the `gpu_seen` of living
 * holds are its words and were brought up to date; else each hold counts as if it used what it
 * reserved, or `gpu_seen` where that is more. True: what the GONE holds of the card had is back,
 * but for a quarter; remove them and call again.
 */
bool sl_ledger_see(struct sl_ledger *l, int device, uint64_t free, bool by_process);

/* What a worker that is to be started needs. */
struct sl_need {
    uint64_t memory; /* 0: not known, it is not waited for */
    bool on_gpu;
    uint64_t gpu_memory; /* SL_LEDGER_ALL: not known */
    int device;          /* the card; -1: any */
    uint64_t avoid;      /* a bit for each card that is not to be taken */
};

enum sl_verdict {
    SL_VERDICT_FITS,  /* start it, on `device` */
    SL_VERDICT_EVICT, /* stop the idle workers in `evict`, then ask again */
    SL_VERDICT_WAIT,  /* ask again when a worker has ended or the card shows more free memory */
    SL_VERDICT_NEVER, /* no card, or not this machine, is large enough */
};
enum sl_lack { SL_LACK_NONE, SL_LACK_MEMORY, SL_LACK_GPU };

struct sl_answer {
    enum sl_verdict verdict;
    int device; /* FITS, EVICT, WAIT: the card; -1: none needed */
    enum sl_lack lack;
    bool foreign;       /* WAIT: nothing of ours is in the way, other processes are */
    uint64_t available; /* WAIT, NEVER: of what lacks; NEVER: the most there could be */
    struct sl_hold *evict[SL_LEDGER_MAX_EVICT];
    int n_evict;
};

/*
 * Whether a worker with this need can start. Of several cards: one where it fits now, of those the
 * one with most free memory; else one where evicting idle workers makes room; else one to wait for.
 * Waits rather than evicts where workers that are leaving make room anyway.
 *
 * Memory of the machine is not waited for while no worker holds any: the kernel finds room better
 * than we can tell.
 */
void sl_ledger_ask(const struct sl_ledger *l, const struct sl_need *need, struct sl_answer *ret);

/* Free for one more, by both readings. */
uint64_t sl_ledger_available(const struct sl_ledger *l, int device);

#endif
