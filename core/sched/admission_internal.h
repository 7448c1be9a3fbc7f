/* Shared by admission.c (who fits), holds.c (entries of workers) and cards.c (what the driver
 * says). */
#ifndef SCHED_ADMISSION_INTERNAL_H
#define SCHED_ADMISSION_INTERNAL_H

#include "proc/machine.h"
#include "sched/admission.h"
#include "sched/ledger.h"
#include "sched/needs.h"
#include "sched/run_internal.h"

/* The cards during a run; a card's index here is its index in the ledger. */
struct sl_cards {
    struct sl_gpus gpus; /* as they were at the start */
    struct sl_gpu_helper helper;
    struct sl_watch watch;
    struct sl_timer tick;  /* the next question */
    struct sl_timer limit; /* for the answer */
    bool asked;
    bool stale;          /* a worker on a card has ended since the last question */
    bool silent;         /* the driver was given up: the ledger's own sums count */
    int64_t answered_ms; /* when the last answer was asked for */
    int64_t asked_ms;
    bool by_process;                      /* the driver names our processes */
    uint64_t base[SL_LEDGER_MAX_DEVICES]; /* used while no worker of ours was there */
    int n_lost;                           /* helpers */
};

/* Of one stage. */
struct sl_stage_admission {
    struct sl_stage_need need; /* with the plan's parameters */
    bool known;                /* `need` is up to date */
    char *refused;             /* why a card was refused while `device: auto`; owned */
    int64_t waits_ms;          /* since when it waits; 0: it does not */
    int64_t foreign_ms;        /* since when other processes are in its way; 0: they are not */
    bool foreign_said;
};

struct sl_admission {
    const struct sl_plan *plan;
    char *worker_program;
    struct run *run; /* while attached */
    struct sl_ledger ledger;
    struct sl_peaks peaks;
    struct sl_cards cards;
    struct sl_stage_admission *stages;
    int64_t machine_ms; /* when the machine's memory was looked at */
    int64_t saved_ms;
    double foreign_limit_s;
    uint64_t promised;    /* in this turn: cards whose room an earlier task waits for */
    bool memory_promised; /* and the machine's memory */
    bool waiting;         /* in this turn somebody waited for what no event tells */
};

/* admission.c: `device: auto` of the stage means the CPU from here on; told once. */
void sl_admission_use_cpu(struct sl_admission *a, int stage, const char *why);
/* holds.c: writes down what was measured. */
void sl_admission_save(struct sl_admission *a);

/* cards.c */
/* Asks the driver what there is, for the first time. What goes wrong is said in gpus.error. */
void sl_cards_open(struct sl_admission *a);
void sl_cards_close(struct sl_admission *a);
void sl_cards_attach(struct sl_admission *a);
void sl_cards_detach(struct sl_admission *a);
/* True: the last reading is good enough to decide by. Else it was asked for a new one. */
bool sl_cards_are_known(struct sl_admission *a);
/* A worker's process on a card was reaped; its hold is GONE and belongs to the cards from here
 * on. */
void sl_cards_left(struct sl_admission *a, struct sl_hold *hold);
/* Sets the timer for what is to be looked at next. */
void sl_cards_plan_tick(struct sl_admission *a);
/* "card 0 (NVIDIA H200)" into buf. */
const char *sl_cards_name(const struct sl_admission *a, int card, char *buf, size_t size);

#endif
