// SPDX-License-Identifier: GPL-2.0-only
#include "escape.h"

const char escape_help[] =
	"\r\n"
	"Ctrl-A h  this help\r\n"
	"Ctrl-A x  end popf\r\n"
	"Ctrl-A p  press the guest's power button\r\n"
	"Ctrl-A b  send a break\r\n"
	"Ctrl-A Ctrl-A  send Ctrl-A\r\n";

enum escape_action escape_feed(struct escape *e, uint8_t ch)
{
	if (!e->seen) {
		e->seen = ch == ESCAPE_KEY;
		return e->seen ? ESCAPE_NOTHING : ESCAPE_PASS;
	}
	e->seen = false;
	switch (ch) {
	case ESCAPE_KEY:
		return ESCAPE_PASS;
	case 'x':
		return ESCAPE_QUIT;
	case 'h':
	case '?':
		return ESCAPE_HELP;
	case 'b':
		return ESCAPE_BREAK;
	case 'p':
		return ESCAPE_POWER;
	default:
		return ESCAPE_NOTHING;
	}
}
