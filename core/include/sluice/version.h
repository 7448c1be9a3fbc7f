/* Version of Sluice and of the plugin ABI. See plugin.h for what the ABI numbers promise. */
#ifndef SLUICE_VERSION_H
#define SLUICE_VERSION_H

#define SLUICE_VERSION "0.1.0"

/* Plugin ABI: a host refuses a plugin whose major differs, or whose minor is newer than its own. */
#define SLUICE_ABI_MAJOR 1u
#define SLUICE_ABI_MINOR 0u

#endif
