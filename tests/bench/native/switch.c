// SPDX-License-Identifier: GPL-2.0-only
/*
 * Switch tables: a scanner of tokens, a state machine over them, both by jump
 * tables with targets that depend on random input.
 */
#include "programs.h"

static u8 input[4096];

static noinline u32 token(u8 c)
{
	switch (c & 31) {
	case 0: return c >> 3;
	case 1: return c + 7u;
	case 2: return c ^ 0x55u;
	case 3: return c * 3u;
	case 4: return 11;
	case 5: return (u32)c << 4 | 1;
	case 6: return c - 1u;
	case 7: return 255u - c;
	case 8: return c | 0x100u;
	case 9: return c & 0x0fu;
	case 10: return c % 7u;
	case 11: return c % 11u;
	case 12: return c * c;
	case 13: return 99;
	case 14: return c + 1000u;
	case 15: return c >> 1;
	case 16: return c ^ 0xffu;
	case 17: return c + 3u;
	case 18: return c * 5u;
	case 19: return c % 3u;
	default: return c;
	}
}

static noinline u64 machine(const u8 *p, u64 n, u64 sum)
{
	u32 state = 0;

	while (n--) {
		u32 t = token(*p++);

		switch (state) {
		case 0:
			state = t & 7;
			sum += t;
			break;
		case 1:
			state = (t >> 1) & 7;
			sum ^= t;
			break;
		case 2:
			state = t & 3;
			sum = sum << 1 | sum >> 63;
			break;
		case 3:
			state = 7 - (t & 7);
			sum -= t;
			break;
		case 4:
			state = (t & 1) + 5;
			sum += (u64)t << 8;
			break;
		case 5:
			state = t % 5;
			sum ^= (u64)t << 16;
			break;
		case 6:
			state = sum & 7;
			break;
		case 7:
			state = 0;
			sum = mix(sum, t);
			break;
		}
	}
	return sum;
}

u64 run_switch(u64 rounds)
{
	u64 seed = 0x5117c4, sum = 0, i;

	for (i = 0; i < sizeof(input); i++)
		input[i] = (u8)next_random(&seed);
	while (rounds--)
		sum = machine(input, sizeof(input), sum);
	return sum;
}
