/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The environment of the portable core: bt/, shadow/ and the C of monitor/
 * compile into the module and into ordinary programs, and reach the world only
 * through this header and gmem.h.
 *
 * Allocation: may sleep, must not be called with an env_mutex held that an mmu
 * notifier also takes (reclaim can enter the notifier). Allocate first, then
 * lock.
 */
#ifndef POPF_ENV_H
#define POPF_ENV_H

#include "types.h"

#ifdef __KERNEL__

#include <linux/bug.h>
#include <linux/build_bug.h>
#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/gfp.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/string.h>

static inline void *env_zalloc(size_t size)
{
	return kvzalloc(size, GFP_KERNEL_ACCOUNT);
}

static inline void env_free(void *p)
{
	kvfree(p);
}

/* One zeroed page, page aligned, with a host-physical address. */
static inline void *env_page_alloc(void)
{
	return (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
}

static inline void env_page_free(void *page)
{
	free_page((unsigned long)page);
}

static inline hpa_t env_page_hpa(const void *page)
{
	return __pa(page);
}

static inline void *env_hpa_page(hpa_t hpa)
{
	return __va(hpa);
}

struct env_mutex {
	struct mutex m;
};

static inline void env_mutex_init(struct env_mutex *m)
{
	mutex_init(&m->m);
}

static inline void env_mutex_lock(struct env_mutex *m)
{
	mutex_lock(&m->m);
}

static inline bool env_mutex_trylock(struct env_mutex *m)
{
	return mutex_trylock(&m->m);
}

static inline void env_mutex_unlock(struct env_mutex *m)
{
	mutex_unlock(&m->m);
}

#define env_resched() cond_resched()
#define env_warn(fmt, ...) pr_warn("popf: " fmt "\n", ##__VA_ARGS__)
#define env_info(fmt, ...) pr_info("popf: " fmt "\n", ##__VA_ARGS__)
#define env_debug(fmt, ...) pr_debug("popf: " fmt "\n", ##__VA_ARGS__)
/* Our own bug: report once, then the caller stops the VM. */
#define env_bug_on(cond) WARN_ON_ONCE(cond)

#else /* !__KERNEL__ */

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#endif
#ifndef BUILD_BUG_ON
#define BUILD_BUG_ON(cond) _Static_assert(!(cond), #cond)
#endif
#ifndef static_assert
#define static_assert _Static_assert
#endif
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))
#ifndef container_of
#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))
#endif
#ifndef __packed
#define __packed __attribute__((packed))
#endif
#ifndef __aligned
#define __aligned(n) __attribute__((aligned(n)))
#endif
#ifndef __maybe_unused
#define __maybe_unused __attribute__((unused))
#endif
#ifndef fallthrough
#define fallthrough __attribute__((fallthrough))
#endif

/* Tests set this to n to make the nth following allocation fail; 0 = never. */
extern unsigned long env_fail_alloc;

static inline bool env_alloc_fails(void)
{
	return env_fail_alloc && --env_fail_alloc == 0;
}

static inline void *env_zalloc(size_t size)
{
	return env_alloc_fails() ? NULL : calloc(1, size);
}

static inline void env_free(void *p)
{
	free(p);
}

static inline void *env_page_alloc(void)
{
	void *p = env_alloc_fails() ? NULL : aligned_alloc(4096, 4096);

	if (p)
		memset(p, 0, 4096);
	return p;
}

static inline void env_page_free(void *page)
{
	free(page);
}

/* In a program a page's "host-physical" address is its pointer. */
static inline hpa_t env_page_hpa(const void *page)
{
	return (hpa_t)(uintptr_t)page;
}

static inline void *env_hpa_page(hpa_t hpa)
{
	return (void *)(uintptr_t)hpa;
}

struct env_mutex {
	pthread_mutex_t m;
};

static inline void env_mutex_init(struct env_mutex *m)
{
	pthread_mutex_init(&m->m, NULL);
}

static inline void env_mutex_lock(struct env_mutex *m)
{
	pthread_mutex_lock(&m->m);
}

static inline bool env_mutex_trylock(struct env_mutex *m)
{
	return pthread_mutex_trylock(&m->m) == 0;
}

static inline void env_mutex_unlock(struct env_mutex *m)
{
	pthread_mutex_unlock(&m->m);
}

#define env_resched() ((void)0)
#define env_warn(fmt, ...) fprintf(stderr, "popf: " fmt "\n", ##__VA_ARGS__)
#define env_info(fmt, ...) fprintf(stderr, "popf: " fmt "\n", ##__VA_ARGS__)
#define env_debug(fmt, ...) ((void)0)

static inline bool env_report_bug(bool cond, const char *what, const char *file,
				  int line)
{
	if (cond)
		fprintf(stderr, "popf: bug: %s at %s:%d\n", what, file, line);
	return cond;
}

#define env_bug_on(cond) env_report_bug(!!(cond), #cond, __FILE__, __LINE__)

#endif /* __KERNEL__ */

#endif
