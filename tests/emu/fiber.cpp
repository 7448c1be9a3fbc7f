/*
 * Fibers. On x86-64 a switch pushes the six registers that a function must keep, exchanges the
 * stack pointer and pops them: a few nanoseconds. Elsewhere ucontext does it, with a system call a
 * switch. The floating-point control words are not switched: kernels do not change them.
 */
#include "fiber.h"

#include <stdint.h>

#ifdef EMU_FIBER_UCONTEXT

void emu_fiber_prepare(struct emu_fiber *ret_fiber, char *stack, void (*entry)(void)) {
    getcontext(&ret_fiber->context);
    ret_fiber->context.uc_stack.ss_sp = stack;
    ret_fiber->context.uc_stack.ss_size = EMU_STACK_BYTES;
    ret_fiber->context.uc_link = NULL;
    makecontext(&ret_fiber->context, entry, 0);
}

void emu_fiber_switch(struct emu_fiber *from, struct emu_fiber *to) {
    swapcontext(&from->context, &to->context);
}

#else

extern "C" void emu_switch_stack(void **save_sp, void *to_sp);
asm(R"(
.text
.globl emu_switch_stack
.hidden emu_switch_stack
.type emu_switch_stack, @function
emu_switch_stack:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
.size emu_switch_stack, . - emu_switch_stack
)");

void emu_fiber_prepare(struct emu_fiber *ret_fiber, char *stack, void (*entry)(void)) {
    /* As after a call: the word above the return address is a multiple of 16, and no caller is
     * there. Stacks are a power of two apart; starting at different distances from their ends they
     * lie in different sets of the caches. */
    size_t distance = 64 + (uintptr_t)stack / EMU_STACK_BYTES % 32 * 320;
    uintptr_t *top = (uintptr_t *)(stack + EMU_STACK_BYTES - distance);
    *--top = 0;
    *--top = (uintptr_t)entry;
    for (int i = 0; i < 6; i++)
        *--top = 0;
    ret_fiber->sp = top;
}

void emu_fiber_switch(struct emu_fiber *from, struct emu_fiber *to) {
    emu_switch_stack(&from->sp, to->sp);
}

#endif
