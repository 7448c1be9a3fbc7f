/*
 * Fibers: stacks that one thread switches between by hand.
 */
#ifndef EMU_FIBER_H
#define EMU_FIBER_H

#include <stddef.h>

#if !defined(__x86_64__)
#include <ucontext.h>
#define EMU_FIBER_UCONTEXT 1
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(EMU_TSAN)
enum { EMU_STACK_BYTES = 256 * 1024 };
#else
enum { EMU_STACK_BYTES = 64 * 1024 };
#endif

struct emu_fiber {
#ifdef EMU_FIBER_UCONTEXT
    ucontext_t context;
#else
    void *sp;
#endif
};

/* Makes ret_fiber start `entry`, which never returns, on the stack that ends below stack +
 * EMU_STACK_BYTES. */
void emu_fiber_prepare(struct emu_fiber *ret_fiber, char *stack, void (*entry)(void));

/* Goes on in `to`; returns when somebody switches to `from`. */
void emu_fiber_switch(struct emu_fiber *from, struct emu_fiber *to);

#endif
