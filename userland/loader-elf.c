// SPDX-License-Identifier: GPL-2.0-only
/*
 * 64-bit ELF executables, loaded by the physical addresses of their segments.
 *
 * The file is untrusted: every offset is checked against its size. Its PVH note
 * (XEN_ELFNOTE_PHYS32_ENTRY) names a 32-bit entry point, which popf does not
 * use; whether it is there is only reported.
 */
#include <elf.h>
#include <string.h>

#include "loader.h"

#define PVH_NOTE_NAME	"Xen"
#define PVH_NOTE_TYPE	18	/* XEN_ELFNOTE_PHYS32_ENTRY */

/* Segments below this would overwrite boot_params and page tables. */
#define ELF_LOWEST	0x100000ULL

bool elf_is(const struct image *img)
{
	return img->size >= SELFMAG && !memcmp(img->data, ELFMAG, SELFMAG);
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

static Elf64_Phdr program_header(const struct image *img,
				 const Elf64_Ehdr *eh, unsigned int i)
{
	Elf64_Phdr ph;

	memcpy(&ph, img->data + eh->e_phoff + i * sizeof(ph), sizeof(ph));
	return ph;
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
	memcpy(dst, img->data + ph->p_offset, ph->p_filesz);
	memset(dst + ph->p_filesz, 0, ph->p_memsz - ph->p_filesz);
	if (ph->p_paddr < res->kernel_start)
		res->kernel_start = ph->p_paddr;
	if (end > res->kernel_end)
		res->kernel_end = end;
	return 0;
}

/* Looks for the PVH note in one PT_NOTE segment. */
static bool find_pvh_note(const struct image *img, const Elf64_Phdr *ph)
{
	uint64_t pos = ph->p_offset;
	uint64_t end = ph->p_offset + ph->p_filesz;

	if (ph->p_offset > img->size || ph->p_filesz > img->size - pos)
		return false;
	while (end - pos >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr nh;
		uint64_t name, desc, next;

		memcpy(&nh, img->data + pos, sizeof(nh));
		name = pos + sizeof(nh);
		desc = name + ((uint64_t)nh.n_namesz + 3) / 4 * 4;
		next = desc + ((uint64_t)nh.n_descsz + 3) / 4 * 4;
		if (next > end)
			return false;
		if (nh.n_type == PVH_NOTE_TYPE &&
		    nh.n_namesz == sizeof(PVH_NOTE_NAME) &&
		    !memcmp(img->data + name, PVH_NOTE_NAME,
			    sizeof(PVH_NOTE_NAME)))
			return true;
		pos = next;
	}
	return false;
}

/*
 * Linux gives a physical entry point. Other linkers give a virtual one, which
 * is translated by the segment that holds it.
 */
static uint64_t physical_entry(const struct image *img, const Elf64_Ehdr *eh)
{
	unsigned int i;

	for (i = 0; i < eh->e_phnum; i++) {
		Elf64_Phdr ph = program_header(img, eh, i);

		if (ph.p_type == PT_LOAD &&
		    eh->e_entry - ph.p_paddr < ph.p_memsz)
			return eh->e_entry;
	}
	for (i = 0; i < eh->e_phnum; i++) {
		Elf64_Phdr ph = program_header(img, eh, i);

		if (ph.p_type == PT_LOAD &&
		    eh->e_entry - ph.p_vaddr < ph.p_memsz)
			return eh->e_entry - ph.p_vaddr + ph.p_paddr;
	}
	return 0;
}

int elf_load(struct guest_mem *mem, const struct image *img,
	     struct boot_result *res, struct error *err)
{
	Elf64_Ehdr eh;
	unsigned int i;

	if (img->size < sizeof(eh))
		return error_caller(err, "the kernel '%s' is truncated within its ELF header: get a complete copy",
				    img->path);
	memcpy(&eh, img->data, sizeof(eh));
	if (check_header(img, &eh, err) < 0)
		return -1;

	res->is_elf = true;
	res->kernel_start = ~0ULL;
	for (i = 0; i < eh.e_phnum; i++) {
		Elf64_Phdr ph = program_header(img, &eh, i);

		if (ph.p_type == PT_NOTE && find_pvh_note(img, &ph))
			res->has_pvh_note = true;
		if (ph.p_type == PT_LOAD && ph.p_memsz &&
		    load_segment(mem, img, &ph, res, err) < 0)
			return -1;
	}
	res->entry = physical_entry(img, &eh);
	if (!res->entry)
		return error_caller(err, "the kernel '%s' has its entry point outside its segments: give --kernel a Linux vmlinux",
				    img->path);
	return 0;
}
