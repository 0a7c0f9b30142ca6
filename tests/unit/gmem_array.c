// SPDX-License-Identifier: GPL-2.0-only
#include "gmem_array.h"

/* Several test helpers may define it. */
__attribute__((weak)) unsigned long env_fail_alloc;

struct popf_vm *gmem_array_create(u64 frames)
{
	struct popf_vm *vm = calloc(1, sizeof(*vm));

	assert(vm);
	vm->frames = frames;
	vm->ram = aligned_alloc(1 << 21,
				((frames + 1) << 12 | ((1 << 21) - 1)) + 1);
	vm->flags = calloc(frames, 1);
	assert(vm->ram && vm->flags);
	memset(vm->ram, 0, frames << 12);
	return vm;
}

void gmem_array_destroy(struct popf_vm *vm)
{
	free(vm->ram);
	free(vm->flags);
	free(vm);
}

static void hook(struct popf_vm *vm)
{
	void (*fn)(struct popf_vm *vm, void *arg) = vm->hook;

	/* What the hook does must not call it again. */
	vm->hook = NULL;
	if (fn)
		fn(vm, vm->hook_arg);
	if (!vm->hook)
		vm->hook = fn;
}

static bool is_ram(struct popf_vm *vm, gfn_t gfn)
{
	return gfn < vm->frames && !(vm->flags[gfn] & GMEM_HOLE);
}

bool gmem_is_ram(struct popf_vm *vm, gfn_t gfn)
{
	hook(vm);
	return is_ram(vm, gfn);
}

static int check(struct popf_vm *vm, gpa_t gpa, size_t len)
{
	gfn_t gfn;

	if (!len)
		return 0;
	for (gfn = gpa >> 12; gfn <= (gpa + len - 1) >> 12; gfn++)
		if (!is_ram(vm, gfn))
			return -EFAULT;
	return 0;
}

int gmem_read(struct popf_vm *vm, gpa_t gpa, void *buf, size_t len)
{
	hook(vm);
	vm->reads++;
	if (check(vm, gpa, len))
		return -EFAULT;
	memcpy(buf, vm->ram + gpa, len);
	return 0;
}

int gmem_write(struct popf_vm *vm, gpa_t gpa, const void *buf, size_t len)
{
	hook(vm);
	if (check(vm, gpa, len))
		return -EFAULT;
	if (vm->flags[gpa >> 12] & GMEM_RO_SLOT)
		return -EROFS;
	memcpy(vm->ram + gpa, buf, len);
	return 0;
}

int gmem_write_atomic(struct popf_vm *vm, gpa_t gpa, const void *buf, size_t len)
{
	if (check(vm, gpa, len) || vm->no_atomic ||
	    vm->flags[gpa >> 12] & (GMEM_RO_SLOT | GMEM_NO_WRITE))
		return -EFAULT;
	memcpy(vm->ram + gpa, buf, len);
	vm->flags[gpa >> 12] |= GMEM_DIRTY;
	vm->atomic_writes++;
	return 0;
}

int gmem_cmpxchg(struct popf_vm *vm, gpa_t gpa, u64 *old, u64 new, u32 len)
{
	u64 now = 0;

	hook(vm);
	if (check(vm, gpa, len) || vm->flags[gpa >> 12] & GMEM_RO_SLOT)
		return -EFAULT;
	memcpy(&now, vm->ram + gpa, len);
	if (memcmp(&now, old, len)) {
		*old = now;
		return -EAGAIN;
	}
	memcpy(vm->ram + gpa, &new, len);
	return 0;
}

/* May the 2 MiB around gfn be mapped as one? */
static bool large(struct popf_vm *vm, gfn_t gfn)
{
	u32 i;

	if (!vm->large || (gfn | 511) >= vm->frames)
		return false;
	for (i = 0; i < 512; i++)
		if (vm->flags[(gfn & ~511ull) + i] & ~GMEM_DIRTY)
			return false;
	return true;
}

int gmem_page(struct popf_vm *vm, gfn_t gfn, bool want_write,
	      struct gmem_page *out)
{
	hook(vm);
	vm->pages++;
	if (!is_ram(vm, gfn))
		return -EFAULT;
	if (want_write)
		vm->flags[gfn] &= ~GMEM_NO_WRITE;
	out->hpa = (hpa_t)(uintptr_t)(vm->ram + ((gfn + vm->skew) << 12));
	if (vm->alias && gfn == vm->alias)
		out->hpa = (hpa_t)(uintptr_t)(vm->ram + (vm->alias_of << 12));
	out->level = large(vm, gfn) ? 2 : 1;
	out->readonly_slot = vm->flags[gfn] & GMEM_RO_SLOT;
	out->writable =
		!(vm->flags[gfn] & (GMEM_RO_SLOT | GMEM_NO_WRITE));
	out->seq = vm->seq;
	return 0;
}

u64 gmem_seq(struct popf_vm *vm)
{
	return vm->seq;
}

bool gmem_retry(struct popf_vm *vm, u64 seq)
{
	if (vm->on_retry)
		vm->on_retry(vm, vm->hook_arg);
	return seq != vm->seq;
}

void gmem_mark_dirty(struct popf_vm *vm, gfn_t gfn)
{
	hook(vm);
	if (is_ram(vm, gfn))
		vm->flags[gfn] |= GMEM_DIRTY;
}
