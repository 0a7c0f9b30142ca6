/* SPDX-License-Identifier: GPL-2.0-only */
/* The subcommands. argv[0] is the subcommand's name; each returns a status. */
#ifndef POPF_USERLAND_COMMANDS_H
#define POPF_USERLAND_COMMANDS_H

int cmd_record(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_stream(int argc, char **argv);
int cmd_doctor(int argc, char **argv);

#endif
