// SPDX-License-Identifier: GPL-2.0-only
/* Bounce: placeholder until written below. */
#include "bt.h"
int bt_bounce_plan(struct bt_bounce *b)
{
	return -EINVAL;
}
int bt_bounce_emit(struct bt *bt, const struct bt_bounce *b, u32 data_off,
		   tpc_t *tpc)
{
	return -EINVAL;
}
