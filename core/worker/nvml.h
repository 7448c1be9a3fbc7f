/*
 * The driver's view of its cards, asked in a process of its own: `sluice-worker --gpu N`. A driver
 * that hangs or crashes takes this process along and nothing else, and the core maps no library of
 * NVIDIA's.
 *
 * NVML (libnvidia-ml.so.1, or what SLUICE_NVML names) is opened at run time. It makes no context on
 * a card and takes no memory of it. Each message that arrives is answered by one message of JSON:
 * "?" asks for the cards (proc/gpu.h describes the answer), "l" for the libraries of CUDA
 * (libraries.h), which it loads: nothing should be asked after that.
 */
#ifndef WORKER_NVML_H
#define WORKER_NVML_H

/* Serves the socket (SOCK_SEQPACKET) until its other end is closed. Returns the exit status. */
int sl_nvml_serve(int socket);

#endif
