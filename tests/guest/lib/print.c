// SPDX-License-Identifier: GPL-2.0-only
/*
 * Output on the first serial port, the command line, and the C library
 * functions that the compiler calls.
 */
#include "lib.h"
#include "x86.h"

#define COM1 0x3f8
#define COM1_LSR (COM1 + 5)
#define LSR_THRE 0x20

static const char *command_line = "";

static void put_char(char ch)
{
	while (!(inb(COM1_LSR) & LSR_THRE))
		;
	outb(COM1, ch);
}

static void put_string(const char *s)
{
	while (*s)
		put_char(*s++);
}

static void put_number(u64 v, unsigned int base)
{
	char buf[24];
	unsigned int n = sizeof(buf) - 1;

	buf[n] = 0;
	do {
		buf[--n] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	put_string(buf + n);
}

static void put_signed(s64 v)
{
	if (v < 0)
		put_char('-');
	put_number(v < 0 ? -(u64)v : v, 10);
}

/* %s %c %d %u %x %lx %lu %ld %p %% */
void print_list(const char *fmt, va_list ap)
{
	for (; *fmt; fmt++) {
		bool is_long = false;

		if (*fmt != '%') {
			put_char(*fmt);
			continue;
		}
		if (*++fmt == 'l') {
			is_long = true;
			fmt++;
		}
		switch (*fmt) {
		case 's':
			put_string(va_arg(ap, const char *));
			break;
		case 'c':
			put_char(va_arg(ap, int));
			break;
		case 'd':
			put_signed(is_long ? va_arg(ap, s64) : va_arg(ap, int));
			break;
		case 'u':
			put_number(is_long ? va_arg(ap, u64) : va_arg(ap, u32), 10);
			break;
		case 'x':
			put_number(is_long ? va_arg(ap, u64) : va_arg(ap, u32), 16);
			break;
		case 'p':
			put_number(va_arg(ap, u64), 16);
			break;
		case 0:
			return;
		default:
			put_char(*fmt);
			break;
		}
	}
}

void print(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print_list(fmt, ap);
	va_end(ap);
}

void set_command_line(const char *text)
{
	command_line = text;
}

/* The text after a word of the command line, or null. */
static const char *find_word(const char *word)
{
	const char *p = command_line;

	while (*p) {
		const char *w = word;

		while (*p == ' ')
			p++;
		while (*w && *w == *p) {
			w++;
			p++;
		}
		if (!*w && (!*p || *p == ' ' || *p == '='))
			return p;
		while (*p && *p != ' ')
			p++;
	}
	return NULL;
}

bool option(const char *word)
{
	return find_word(word);
}

bool option_value(const char *word, u64 *value)
{
	const char *p = find_word(word);

	if (!p || *p++ != '=')
		return false;
	for (*value = 0; *p >= '0' && *p <= '9'; p++)
		*value = *value * 10 + (*p - '0');
	return true;
}

/* Is this test among the words of only=a,b,c? True without that option. */
bool option_selects(const char *name)
{
	const char *p = find_word("only");

	if (!p || *p != '=')
		return true;
	while (*p == '=' || *p == ',') {
		const char *n = name;

		p++;
		while (*n && *n == *p) {
			n++;
			p++;
		}
		if (!*n && (!*p || *p == ' ' || *p == ','))
			return true;
		while (*p && *p != ' ' && *p != ',')
			p++;
	}
	return false;
}

bool engine_is_tcg(void)
{
	return option("tcg");
}

bool hardware_is_tcg(void)
{
	return option("tcg") || option("hwtcg");
}

void *memcpy(void *to, const void *from, size_t n)
{
	void *start = to;

	asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
	return start;
}

void *memset(void *to, int ch, size_t n)
{
	void *start = to;

	asm volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(ch) : "memory");
	return start;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const u8 *x = a, *y = b;

	for (; n; n--, x++, y++) {
		if (*x != *y)
			return *x - *y;
	}
	return 0;
}
