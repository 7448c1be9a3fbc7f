/*
 * Memory that processes started here can have: that of the machine, or less where a control group
 * above us says so (a container, a batch system). Both versions of control groups are looked at.
 */
#ifndef PROC_MACHINE_H
#define PROC_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sl_machine_room {
    uint64_t capacity; /* bytes in all */
    /* now, without swapping; file pages that can be dropped count as available */
    uint64_t available;
    bool in_group; /* the bound of a control group is the smaller one */
};

void sl_machine_room(struct sl_machine_room *ret);

/*
 * The part of the texts, pure: the files limit, usage and statistics of one group (memory.max,
 * memory.current, memory.stat; memory.limit_in_bytes and so on) lower *room. What is not a number,
 * "max" for one, is no bound.
 */
void sl_machine_room_bound(struct sl_machine_room *room, const char *limit, const char *usage,
                           const char *stat);

#endif
