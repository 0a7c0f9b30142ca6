// SPDX-License-Identifier: GPL-2.0-only
/*
 * 64-bit ELF executables, loaded by the physical addresses of their segments.
 *
 * The file is untrusted: every offset is checked against its size. Its PVH note
 * (XEN_ELFNOTE_PHYS32_ENTRY) names a 32-bit entry point, which popf does not
 * use; whether it is there is only reported.
 */
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "loader.h"

#define PVH_NOTE_NAME	"Xen"
#define PVH_NOTE_TYPE	18	/* XEN_ELFNOTE_PHYS32_ENTRY */

#define NOTES_MAX	(1 << 20)

/* Segments below this would overwrite boot_params and page tables. */
#define ELF_LOWEST	0x100000ULL

bool elf_is(const void *head, size_t len)
{
	return len >= SELFMAG && !memcmp(head, ELFMAG, SELFMAG);
}

static int check_header(const struct image *img, const Elf64_Ehdr *eh,
			struct error *err)
{
	if (eh->e_ident[EI_CLASS] != ELFCLASS64 || eh->e_machine != EM_X86_64 ||
	    (eh->e_type != ET_EXEC && eh->e_type != ET_DYN))
		return error_caller(err, "'%s' is an ELF file but not an x86-64 executable: give --kernel a bzImage or a 64-bit vmlinux",
				    img->path);
	if (eh->e_phentsize != sizeof(Elf64_Phdr) || !eh->e_phnum ||
	    eh->e_phoff > img->size ||
	    eh->e_phnum > (img->size - eh->e_phoff) / sizeof(Elf64_Phdr))
		return error_caller(err, "the kernel '%s' is truncated or has no program headers: get a complete copy",
				    img->path);
	return 0;
}

static int load_segment(struct guest_mem *mem, const struct image *img,
			const Elf64_Phdr *ph, struct boot_result *res,
			struct error *err)
{
	uint64_t end = ph->p_paddr + ph->p_memsz;
	uint8_t *dst;

	if (ph->p_offset > img->size || ph->p_filesz > img->size - ph->p_offset)
		return error_caller(err, "the kernel '%s' is truncated: a segment reaches past its end; get a complete copy",
				    img->path);
	if (ph->p_filesz > ph->p_memsz || end < ph->p_paddr ||
	    ph->p_paddr < ELF_LOWEST)
		return error_caller(err, "the kernel '%s' has a segment at %#llx, which cannot be loaded: give --kernel a vmlinux linked at 1 MiB or above",
				    img->path, (unsigned long long)ph->p_paddr);
	dst = guest_mem_ptr(mem, ph->p_paddr, ph->p_memsz);
	if (!dst)
		return error_caller(err, "%llu MiB of memory are too little for the kernel '%s': give --memory at least %lluM",
				    (unsigned long long)mem->size >> 20,
				    img->path,
				    (unsigned long long)(end >> 20) + 1);
	if (image_read(img, ph->p_offset, dst, ph->p_filesz, err) < 0)
		return -1;
	memset(dst + ph->p_filesz, 0, ph->p_memsz - ph->p_filesz);
	if (ph->p_paddr < res->kernel_start)
		res->kernel_start = ph->p_paddr;
	if (end > res->kernel_end)
		res->kernel_end = end;
	return 0;
}

/* Looks for the PVH note among the notes in buf. */
static bool has_pvh_note(const uint8_t *buf, uint64_t len)
{
	uint64_t pos = 0;

	while (len - pos >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr nh;
		uint64_t name, desc, next;

		memcpy(&nh, buf + pos, sizeof(nh));
		name = pos + sizeof(nh);
		desc = name + ((uint64_t)nh.n_namesz + 3) / 4 * 4;
		next = desc + ((uint64_t)nh.n_descsz + 3) / 4 * 4;
		if (next > len)
			return false;
		if (nh.n_type == PVH_NOTE_TYPE &&
		    nh.n_namesz == sizeof(PVH_NOTE_NAME) &&
		    !memcmp(buf + name, PVH_NOTE_NAME, sizeof(PVH_NOTE_NAME)))
			return true;
		pos = next;
	}
	return false;
}

/* A note segment that is damaged or absurdly large has no PVH note. */
static int read_notes(const struct image *img, const Elf64_Phdr *ph,
		      struct boot_result *res, struct error *err)
{
	uint8_t *buf;
	int r;

	if (ph->p_offset > img->size ||
	    ph->p_filesz > img->size - ph->p_offset || ph->p_filesz > NOTES_MAX)
		return 0;
	buf = malloc(ph->p_filesz + 1);
	if (!buf)
		return error_failure(err, "out of memory");
	r = image_read(img, ph->p_offset, buf, ph->p_filesz, err);
	if (!r && has_pvh_note(buf, ph->p_filesz))
		res->has_pvh_note = true;
	free(buf);
	return r;
}

/*
 * Linux gives a physical entry point. Other linkers give a virtual one, which
 * is translated by the segment that holds it.
 */
static uint64_t physical_entry(const Elf64_Ehdr *eh, const Elf64_Phdr *ph)
{
	unsigned int i;

	for (i = 0; i < eh->e_phnum; i++) {
		if (ph[i].p_type == PT_LOAD &&
		    eh->e_entry - ph[i].p_paddr < ph[i].p_memsz)
			return eh->e_entry;
	}
	for (i = 0; i < eh->e_phnum; i++) {
		if (ph[i].p_type == PT_LOAD &&
		    eh->e_entry - ph[i].p_vaddr < ph[i].p_memsz)
			return eh->e_entry - ph[i].p_vaddr + ph[i].p_paddr;
	}
	return 0;
}

static int load_segments(struct guest_mem *mem, const struct image *img,
			 const Elf64_Ehdr *eh, const Elf64_Phdr *ph,
			 struct boot_result *res, struct error *err)
{
	unsigned int i;

	res->is_elf = true;
	res->kernel_start = ~0ULL;
	for (i = 0; i < eh->e_phnum; i++) {
		if (ph[i].p_type == PT_NOTE &&
		    read_notes(img, &ph[i], res, err) < 0)
			return -1;
		if (ph[i].p_type == PT_LOAD && ph[i].p_memsz &&
		    load_segment(mem, img, &ph[i], res, err) < 0)
			return -1;
	}
	res->entry = physical_entry(eh, ph);
	if (!res->entry)
		return error_caller(err, "the kernel '%s' has its entry point outside its segments: give --kernel a Linux vmlinux",
				    img->path);
	return 0;
}

int elf_load(struct guest_mem *mem, const struct image *img,
	     struct boot_result *res, struct error *err)
{
	Elf64_Phdr *ph;
	Elf64_Ehdr eh;
	int r;

	if (img->size < sizeof(eh))
		return error_caller(err, "the kernel '%s' is truncated within its ELF header: get a complete copy",
				    img->path);
	if (image_read(img, 0, &eh, sizeof(eh), err) < 0 ||
	    check_header(img, &eh, err) < 0)
		return -1;
	ph = calloc(eh.e_phnum, sizeof(*ph));
	if (!ph)
		return error_failure(err, "out of memory");
	r = image_read(img, eh.e_phoff, ph, eh.e_phnum * sizeof(*ph), err);
	if (!r)
		r = load_segments(mem, img, &eh, ph, res, err);
	free(ph);
	return r;
}
