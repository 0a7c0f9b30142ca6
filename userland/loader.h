/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Puts a Linux kernel, its initrd, its command line and what they need into
 * guest memory, and says where to start.
 *
 * Guest-physical layout below 1 MiB (all of it ordinary RAM):
 *
 *	0x00500  GDT			0x07000  boot_params ("zero page")
 *	0x09000  page tables (24 KiB)	0x20000  command line
 *	0x0f000  end of the first stack	0x9fc00  extended BIOS data area
 *	0xe0000  ACPI tables
 */
#ifndef POPF_USERLAND_LOADER_H
#define POPF_USERLAND_LOADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "guest-mem.h"

#define BOOT_GDT	0x500ULL
#define BOOT_PARAMS	0x7000ULL
#define BOOT_PAGES	0x9000ULL
#define BOOT_PAGES_LEN	0x6000ULL
#define BOOT_STACK	0x10000ULL
#define BOOT_CMDLINE	0x20000ULL
#define BOOT_CMDLINE_MAX	0x10000ULL
#define BOOT_EBDA	0x9fc00ULL

/* An open kernel or initrd; its bytes go straight into guest memory. */
struct image {
	const char *what;	/* "kernel" or "initrd", as the option is named */
	const char *path;
	int fd;
	uint64_t size;
};

struct boot_request {
	const char *kernel;
	const char *initrd;	/* null: none */
	const char *cmdline;
	uint64_t acpi_rsdp;
};

struct boot_result {
	uint64_t entry;
	uint64_t boot_params;
	uint64_t kernel_start;	/* memory the kernel occupies or will */
	uint64_t kernel_end;
	uint64_t initrd_start;
	uint64_t initrd_size;
	bool is_elf;
	bool has_pvh_note;	/* ELF only */
};

/*
 * what: "kernel" or "initrd". Fails when the file cannot be opened, is not a
 * regular file, or is empty.
 */
int image_open(struct image *img, const char *what, const char *path,
	       struct error *err);
void image_close(struct image *img);

/* Exactly len bytes from offset off; the range must lie within size. */
int image_read(const struct image *img, uint64_t off, void *buf, size_t len,
	       struct error *err);

/* Everything: files, boot_params, page tables, GDT. */
int loader_load(struct guest_mem *mem, const struct boot_request *req,
		struct boot_result *res, struct error *err);

/* loader-elf.c: a 64-bit ELF executable, by its physical addresses */
/* head: the first len bytes of the file */
bool elf_is(const void *head, size_t len);
int elf_load(struct guest_mem *mem, const struct image *img,
	     struct boot_result *res, struct error *err);

#endif
