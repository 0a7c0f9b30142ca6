// SPDX-License-Identifier: GPL-2.0-only
/*
 * Clocks and timers. The host of the tests is slow and busy: what is early is an
 * error at once, what is late only beyond a wide margin.
 */
#include "check.h"

#include <fcntl.h>
#include <linux/rtc.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/timerfd.h>
#include <time.h>

#define MS 1000000ll
#define LATE (500 * MS)

static void check_elapsed(const char *what, int64_t start, int64_t want)
{
	int64_t took = now_ns(CLOCK_MONOTONIC) - start;

	CHECK(took >= want - MS / 10, "%s took %lld us, not %lld", what, (long long)took / 1000,
	      (long long)want / 1000);
	CHECK(took < want + LATE, "%s took %lld us, not %lld", what, (long long)took / 1000,
	      (long long)want / 1000);
}

static void sleeping(void)
{
	static const int ms[] = { 1, 10, 50, 200 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ms); i++) {
		struct timespec ts = { 0, ms[i] * MS };
		int64_t start = now_ns(CLOCK_MONOTONIC);

		CHECK_CALL(nanosleep(&ts, NULL));
		check_elapsed("nanosleep", start, ms[i] * MS);
	}
}

static void select_timeout(void)
{
	struct timeval tv = { 0, 100000 };
	int64_t start = now_ns(CLOCK_MONOTONIC);

	CHECK_CALL(select(0, NULL, NULL, NULL, &tv));
	check_elapsed("select", start, 100 * MS);
}

static void periodic_timer(void)
{
	struct itimerspec every = { { 0, 20 * MS }, { 0, 20 * MS } };
	int fd = CHECK_CALL(timerfd_create(CLOCK_MONOTONIC, 0));
	int64_t start = now_ns(CLOCK_MONOTONIC);
	uint64_t n, count = 0;

	CHECK_CALL(timerfd_settime(fd, 0, &every, NULL));
	while (count < 25) {
		CHECK(read(fd, &n, sizeof(n)) == sizeof(n), "read");
		count += n;
	}
	check_elapsed("25 periods", start, count * 20 * MS);
}

static void clocks_never_go_back(void)
{
	static const int clocks[] = { CLOCK_MONOTONIC, CLOCK_REALTIME,
				      CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME };
	unsigned int c;
	int i;

	for (c = 0; c < ARRAY_SIZE(clocks); c++) {
		int64_t last = now_ns(clocks[c]), now;

		for (i = 0; i < 20000; i++) {
			now = now_ns(clocks[c]);
			CHECK(now >= last, "clock %d: %lld after %lld", clocks[c], (long long)now,
			      (long long)last);
			last = now;
		}
	}
}

static void tsc_never_goes_back(void)
{
	uint32_t lo, hi;
	uint64_t last = 0, now;
	int i;

	for (i = 0; i < 100000; i++) {
		asm volatile("lfence; rdtsc" : "=a"(lo), "=d"(hi));
		now = (uint64_t)hi << 32 | lo;
		CHECK(now >= last, "%llx after %llx", (long long)now, (long long)last);
		last = now;
	}
}

static int64_t rtc_seconds(int fd)
{
	struct rtc_time rt;
	struct tm tm;

	CHECK_CALL(ioctl(fd, RTC_RD_TIME, &rt));
	memset(&tm, 0, sizeof(tm));
	tm.tm_sec = rt.tm_sec;
	tm.tm_min = rt.tm_min;
	tm.tm_hour = rt.tm_hour;
	tm.tm_mday = rt.tm_mday;
	tm.tm_mon = rt.tm_mon;
	tm.tm_year = rt.tm_year;
	return timegm(&tm);
}

/* The RTC runs on the host's time; the guest's own clocks must keep up with it. */
static void clocks_keep_up_with_the_rtc(void)
{
	int fd = open("/dev/rtc0", O_RDONLY);
	int64_t rtc0, rtc1, mono0, drift;

	if (fd < 0)
		skipped("no /dev/rtc0");
	rtc0 = rtc_seconds(fd);
	while (rtc_seconds(fd) == rtc0)
		usleep(10000);
	mono0 = now_ns(CLOCK_MONOTONIC);
	rtc0 = rtc_seconds(fd);
	sleep(5);
	rtc1 = rtc_seconds(fd);
	while (rtc_seconds(fd) == rtc1)
		usleep(10000);
	drift = now_ns(CLOCK_MONOTONIC) - mono0 - (rtc1 + 1 - rtc0) * 1000 * MS;
	CHECK(drift > -300 * MS && drift < 300 * MS, "%lld us apart in %lld s",
	      (long long)drift / 1000, (long long)(rtc1 + 1 - rtc0));
}

static void the_date_is_the_hosts(void)
{
	int fd = open("/dev/rtc0", O_RDONLY);
	int64_t diff;

	if (fd < 0)
		skipped("no /dev/rtc0");
	diff = rtc_seconds(fd) - time(NULL);
	CHECK(diff >= -2 && diff <= 2, "%lld s apart", (long long)diff);
}

static void cpu_time_is_accounted(void)
{
	int64_t wall = now_ns(CLOCK_MONOTONIC), cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
	volatile uint32_t x = 0;

	while (now_ns(CLOCK_MONOTONIC) - wall < 300 * MS)
		x++;
	wall = now_ns(CLOCK_MONOTONIC) - wall;
	cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	CHECK(cpu > wall / 4 && cpu <= wall + 20 * MS, "%lld of %lld us", (long long)cpu / 1000,
	      (long long)wall / 1000);
}

const struct check time_checks[] = {
	{ "sleeping", sleeping, 0 },
	{ "select_timeout", select_timeout, 0 },
	{ "periodic_timer", periodic_timer, 0 },
	{ "clocks_never_go_back", clocks_never_go_back, 0 },
	{ "tsc_never_goes_back", tsc_never_goes_back, 0 },
	{ "clocks_keep_up_with_the_rtc", clocks_keep_up_with_the_rtc, 0 },
	{ "the_date_is_the_hosts", the_date_is_the_hosts, 0 },
	{ "cpu_time_is_accounted", cpu_time_is_accounted, 0 },
	{ 0 },
};
