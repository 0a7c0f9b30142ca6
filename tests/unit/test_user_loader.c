// SPDX-License-Identifier: GPL-2.0-only
/* The loader: what it puts into guest memory, and what it refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <asm/bootparam.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../userland/loader.h"

#define MIB		(1ULL << 20)
#define SETUP_SECTS	3
#define PAYLOAD		4096
#define REAL_KERNEL	"build/guest/vmlinuz"

struct rig {
	struct guest_mem mem;
	struct error err;
	struct boot_result res;
	struct boot_request req;
	char kernel[64];
	char initrd[64];
};

/* --- making files -------------------------------------------------------- */

static void write_file(char *path, const void *data, size_t len)
{
	int fd;

	strcpy(path, "/tmp/popf-test-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
}

/* A bzImage with a payload of one repeated byte. */
static size_t make_bzimage(uint8_t *buf)
{
	struct setup_header hdr = {
		.setup_sects = SETUP_SECTS,
		.syssize = PAYLOAD / 16,
		.boot_flag = 0xaa55,
		.jump = 0x66eb,
		.header = 0x53726448,
		.version = 0x020f,
		.loadflags = LOADED_HIGH,
		.initrd_addr_max = 0x7fffffff,
		.kernel_alignment = 0x200000,
		.relocatable_kernel = 1,
		.xloadflags = XLF_KERNEL_64,
		.cmdline_size = 2047,
		.pref_address = 0x1000000,
		.init_size = 0x800000,
	};
	size_t len = (SETUP_SECTS + 1) * 512 + PAYLOAD;

	memset(buf, 0x90, len);
	memcpy(buf + 0x1f1, &hdr, sizeof(hdr));
	return len;
}

static struct setup_header *header_of(uint8_t *buf)
{
	return (struct setup_header *)(buf + 0x1f1);
}

static void rig_init(struct rig *r, uint64_t memory)
{
	memset(r, 0, sizeof(*r));
	assert_int_equal(guest_mem_create(&r->mem, memory,
					  GUEST_PAGES_AUTO, &r->err), 0);
	r->req.kernel = r->kernel;
	r->req.cmdline = "console=ttyS0";
	r->req.acpi_rsdp = 0xe0000;
}

static void rig_destroy(struct rig *r)
{
	guest_mem_destroy(&r->mem);
	if (*r->kernel)
		unlink(r->kernel);
	if (*r->initrd)
		unlink(r->initrd);
}

static int load(struct rig *r)
{
	return loader_load(&r->mem, &r->req, &r->res, &r->err);
}

/* Loads the image and expects a caller's error with this text in it. */
static void assert_refused(const void *image, size_t len, uint64_t memory,
			   const char *text)
{
	struct rig r;

	rig_init(&r, memory);
	write_file(r.kernel, image, len);
	assert_int_equal(load(&r), -1);
	assert_int_equal(r.err.code, POPF_EXIT_CALLER);
	if (!strstr(r.err.text, text))
		fail_msg("'%s' is not in '%s'", text, r.err.text);
	rig_destroy(&r);
}

/* --- bzImage ------------------------------------------------------------- */

static void bzimage_payload_and_header_are_in_place(void **state)
{
	static uint8_t buf[16384];
	size_t len = make_bzimage(buf);
	struct boot_params *bp;
	struct rig r;

	rig_init(&r, 64 * MIB);
	write_file(r.kernel, buf, len);
	assert_int_equal(load(&r), 0);
	assert_int_equal(r.res.entry, 0x100200);
	assert_int_equal(r.res.kernel_end, 0x1800000);
	assert_memory_equal(r.mem.host + 0x100000,
			    buf + (SETUP_SECTS + 1) * 512, PAYLOAD);

	bp = (struct boot_params *)(r.mem.host + r.res.boot_params);
	assert_int_equal(bp->hdr.boot_flag, 0xaa55);
	assert_int_equal(bp->hdr.type_of_loader, 0xff);
	assert_int_equal(bp->hdr.code32_start, 0x100000);
	assert_int_equal(bp->hdr.init_size, 0x800000);
	assert_int_equal(bp->hdr.ramdisk_size, 0);
	assert_int_equal(bp->acpi_rsdp_addr, 0xe0000);
	assert_string_equal((char *)r.mem.host + bp->hdr.cmd_line_ptr,
			    "console=ttyS0");
	rig_destroy(&r);
}

static void fixed_kernel_goes_to_its_own_address(void **state)
{
	static uint8_t buf[16384];
	size_t len = make_bzimage(buf);
	struct rig r;

	header_of(buf)->relocatable_kernel = 0;
	rig_init(&r, 64 * MIB);
	write_file(r.kernel, buf, len);
	assert_int_equal(load(&r), 0);
	assert_int_equal(r.res.entry, 0x1000200);
	rig_destroy(&r);
}

static void e820_leaves_out_the_hole_and_the_bios(void **state)
{
	static uint8_t buf[16384];
	size_t len = make_bzimage(buf);
	struct boot_params *bp;
	struct rig r;

	rig_init(&r, 4096 * MIB);
	write_file(r.kernel, buf, len);
	assert_int_equal(load(&r), 0);
	bp = (struct boot_params *)(r.mem.host + BOOT_PARAMS);
	assert_int_equal(bp->e820_entries, 5);
	assert_int_equal(bp->e820_table[0].size, 0x9fc00);
	assert_int_equal(bp->e820_table[2].addr, 0xe0000);
	assert_int_equal(bp->e820_table[2].type, 2);
	assert_int_equal(bp->e820_table[3].addr, MIB);
	assert_int_equal(bp->e820_table[3].size, 3072 * MIB - MIB);
	assert_int_equal(bp->e820_table[4].addr, 1ULL << 32);
	assert_int_equal(bp->e820_table[4].size, 1024 * MIB);
	rig_destroy(&r);
}

static void initrd_is_above_the_kernel_and_below_its_limit(void **state)
{
	static uint8_t buf[16384], initrd[10000];
	size_t len = make_bzimage(buf);
	struct boot_params *bp;
	struct rig r;

	header_of(buf)->initrd_addr_max = 0x1ffffff;
	memset(initrd, 0x5a, sizeof(initrd));
	rig_init(&r, 64 * MIB);
	write_file(r.kernel, buf, len);
	write_file(r.initrd, initrd, sizeof(initrd));
	r.req.initrd = r.initrd;
	assert_int_equal(load(&r), 0);
	bp = (struct boot_params *)(r.mem.host + BOOT_PARAMS);
	assert_int_equal(bp->hdr.ramdisk_size, sizeof(initrd));
	assert_int_equal(bp->hdr.ramdisk_image % 4096, 0);
	assert_true(bp->hdr.ramdisk_image >= r.res.kernel_end);
	assert_true(bp->hdr.ramdisk_image + sizeof(initrd) <= 0x2000000);
	assert_memory_equal(r.mem.host + bp->hdr.ramdisk_image, initrd,
			    sizeof(initrd));
	rig_destroy(&r);
}

static void page_tables_map_4_gib_to_itself(void **state)
{
	static uint8_t buf[16384];
	size_t len = make_bzimage(buf);
	const uint64_t *pml4, *pdpt, *pd;
	unsigned int i;
	struct rig r;

	rig_init(&r, 64 * MIB);
	write_file(r.kernel, buf, len);
	assert_int_equal(load(&r), 0);
	pml4 = (uint64_t *)(r.mem.host + BOOT_PAGES);
	assert_int_equal(pml4[0] & 3, 3);
	pdpt = (uint64_t *)(r.mem.host + (pml4[0] & ~0xfffULL));
	for (i = 0; i < 2048; i++) {
		pd = (uint64_t *)(r.mem.host + (pdpt[i / 512] & ~0xfffULL));
		assert_int_equal(pd[i % 512], (uint64_t)i << 21 | 0xe3);
	}
	assert_int_equal(pdpt[4], 0);
	rig_destroy(&r);
}

static void gdt_has_the_selectors_linux_wants(void **state)
{
	static uint8_t buf[16384];
	size_t len = make_bzimage(buf);
	const uint64_t *gdt;
	struct rig r;

	rig_init(&r, 64 * MIB);
	write_file(r.kernel, buf, len);
	assert_int_equal(load(&r), 0);
	gdt = (uint64_t *)(r.mem.host + BOOT_GDT);
	assert_int_equal(gdt[2], 0x00af9b000000ffff);
	assert_int_equal(gdt[3], 0x00cf93000000ffff);
	rig_destroy(&r);
}

/* --- refusals ------------------------------------------------------------ */

static void every_truncation_of_a_bzimage_is_refused(void **state)
{
	static uint8_t buf[16384];
	size_t len = make_bzimage(buf), cut;

	for (cut = 1; cut < len; cut += cut < 0x270 ? 7 : 331) {
		struct rig r;

		rig_init(&r, 64 * MIB);
		write_file(r.kernel, buf, cut);
		assert_int_equal(load(&r), -1);
		assert_int_equal(r.err.code, POPF_EXIT_CALLER);
		rig_destroy(&r);
	}
}

static void damaged_setup_headers_are_refused(void **state)
{
	static uint8_t buf[16384];
	size_t len = make_bzimage(buf);
	struct setup_header *h = header_of(buf);

	h->version = 0x020b;
	assert_refused(buf, len, 64 * MIB, "boot protocol 2.11");
	make_bzimage(buf);
	h->xloadflags = 0;
	assert_refused(buf, len, 64 * MIB, "64-bit entry");
	make_bzimage(buf);
	h->loadflags = 0;
	assert_refused(buf, len, 64 * MIB, "64-bit entry");
	make_bzimage(buf);
	h->boot_flag = 0;
	assert_refused(buf, len, 64 * MIB, "not a Linux kernel");
	make_bzimage(buf);
	h->syssize = 0x10000000;
	assert_refused(buf, len, 64 * MIB, "truncated");
	make_bzimage(buf);
	h->kernel_alignment = 0x3000;
	assert_refused(buf, len, 64 * MIB, "damaged");
	make_bzimage(buf);
	h->kernel_alignment = 0;
	assert_refused(buf, len, 64 * MIB, "damaged");
	make_bzimage(buf);
	h->pref_address = ~0ULL;
	assert_refused(buf, len, 64 * MIB, "damaged");
	make_bzimage(buf);
	h->relocatable_kernel = 0;
	h->pref_address = 0x1000;
	assert_refused(buf, len, 64 * MIB, "damaged");
}

static void random_header_bytes_never_crash_the_loader(void **state)
{
	static uint8_t buf[16384];
	unsigned int i, j;

	srand(1);
	for (i = 0; i < 300; i++) {
		size_t len = make_bzimage(buf);
		struct rig r;

		for (j = 0; j < 4; j++)
			buf[0x1f1 + rand() % 0x80] = rand();
		rig_init(&r, 32 * MIB);
		write_file(r.kernel, buf, len);
		load(&r);
		rig_destroy(&r);
	}
}

static void other_files_are_no_kernels(void **state)
{
	static uint8_t buf[8192];

	assert_refused("#!/bin/sh\n", 10, 64 * MIB, "not a Linux kernel");
	memset(buf, 0, sizeof(buf));
	assert_refused(buf, sizeof(buf), 64 * MIB, "not a Linux kernel");
	assert_refused(buf, 0, 64 * MIB, "is empty");
}

static void directories_and_missing_files_are_named(void **state)
{
	struct rig r;

	rig_init(&r, 64 * MIB);
	r.req.kernel = "/tmp";
	assert_int_equal(load(&r), -1);
	assert_non_null(strstr(r.err.text, "'/tmp' is not a regular file"));
	r.req.kernel = "/nonexistent/bzImage";
	assert_int_equal(load(&r), -1);
	assert_non_null(strstr(r.err.text, "No such file"));
	rig_destroy(&r);
}

static void initrd_errors_name_the_initrd(void **state)
{
	static uint8_t buf[16384];
	size_t len = make_bzimage(buf);
	struct rig r;

	rig_init(&r, 64 * MIB);
	write_file(r.kernel, buf, len);
	r.req.initrd = "/nonexistent/initrd";
	assert_int_equal(load(&r), -1);
	assert_non_null(strstr(r.err.text, "initrd '/nonexistent/initrd'"));
	assert_int_equal(r.err.code, POPF_EXIT_CALLER);
	rig_destroy(&r);
}

static void too_little_memory_says_how_much_is_needed(void **state)
{
	static uint8_t buf[16384];
	size_t len = make_bzimage(buf);
	struct rig r;

	assert_refused(buf, len, 16 * MIB, "give --memory at least 25M");
	rig_init(&r, 25 * MIB);
	write_file(r.kernel, buf, len);
	assert_int_equal(load(&r), 0);
	rig_destroy(&r);
}

static void initrd_that_does_not_fit_says_how_much_is_needed(void **state)
{
	static uint8_t buf[16384], initrd[2 << 20];
	size_t len = make_bzimage(buf);
	struct rig r;

	rig_init(&r, 25 * MIB);
	write_file(r.kernel, buf, len);
	write_file(r.initrd, initrd, sizeof(initrd));
	r.req.initrd = r.initrd;
	assert_int_equal(load(&r), -1);
	assert_non_null(strstr(r.err.text, "at least 27M"));
	rig_destroy(&r);
}

static void command_line_limit_is_the_kernels(void **state)
{
	static uint8_t buf[16384];
	size_t len = make_bzimage(buf);
	char cmdline[3000];
	struct rig r;

	rig_init(&r, 64 * MIB);
	write_file(r.kernel, buf, len);
	memset(cmdline, 'a', sizeof(cmdline));
	cmdline[2048] = '\0';
	r.req.cmdline = cmdline;
	assert_int_equal(load(&r), -1);
	assert_non_null(strstr(r.err.text, "at most 2047"));
	cmdline[2047] = '\0';
	assert_int_equal(load(&r), 0);
	rig_destroy(&r);
}

/* --- ELF ----------------------------------------------------------------- */

struct elf_file {
	Elf64_Ehdr eh;
	Elf64_Phdr ph[3];
	struct {
		Elf64_Nhdr nh;
		char name[4];
		uint32_t entry;
	} note;
	uint8_t text[64];
};

static void make_elf(struct elf_file *f)
{
	memset(f, 0, sizeof(*f));
	memcpy(f->eh.e_ident, ELFMAG, SELFMAG);
	f->eh.e_ident[EI_CLASS] = ELFCLASS64;
	f->eh.e_type = ET_EXEC;
	f->eh.e_machine = EM_X86_64;
	f->eh.e_entry = 0x1000010;
	f->eh.e_phoff = offsetof(struct elf_file, ph);
	f->eh.e_phentsize = sizeof(Elf64_Phdr);
	f->eh.e_phnum = 2;
	f->ph[0] = (Elf64_Phdr){
		.p_type = PT_LOAD,
		.p_offset = offsetof(struct elf_file, text),
		.p_vaddr = 0xffffffff81000000, .p_paddr = 0x1000000,
		.p_filesz = sizeof(f->text), .p_memsz = 0x2000,
	};
	f->ph[1] = (Elf64_Phdr){
		.p_type = PT_NOTE,
		.p_offset = offsetof(struct elf_file, note),
		.p_filesz = sizeof(f->note),
	};
	f->note.nh = (Elf64_Nhdr){ .n_namesz = 4, .n_descsz = 4, .n_type = 18 };
	memcpy(f->note.name, "Xen", 4);
	memset(f->text, 0xcc, sizeof(f->text));
}

static void elf_goes_to_its_physical_addresses(void **state)
{
	struct elf_file f;
	struct rig r;

	make_elf(&f);
	rig_init(&r, 64 * MIB);
	memset(r.mem.host + 0x1000000, 0xff, 0x2000);
	write_file(r.kernel, &f, sizeof(f));
	assert_int_equal(load(&r), 0);
	assert_true(r.res.is_elf);
	assert_true(r.res.has_pvh_note);
	assert_int_equal(r.res.entry, 0x1000010);
	assert_int_equal(r.res.kernel_end, 0x1002000);
	assert_memory_equal(r.mem.host + 0x1000000, f.text, sizeof(f.text));
	assert_int_equal(r.mem.host[0x1000000 + sizeof(f.text)], 0);
	rig_destroy(&r);
}

static void missing_pvh_note_is_noticed(void **state)
{
	struct elf_file f;
	struct rig r;

	make_elf(&f);
	f.note.nh.n_type = 17;
	rig_init(&r, 64 * MIB);
	write_file(r.kernel, &f, sizeof(f));
	assert_int_equal(load(&r), 0);
	assert_false(r.res.has_pvh_note);
	rig_destroy(&r);
}

static void virtual_entry_is_translated(void **state)
{
	struct elf_file f;
	struct rig r;

	make_elf(&f);
	f.eh.e_entry = 0xffffffff81000020;
	rig_init(&r, 64 * MIB);
	write_file(r.kernel, &f, sizeof(f));
	assert_int_equal(load(&r), 0);
	assert_int_equal(r.res.entry, 0x1000020);
	rig_destroy(&r);
}

static void bad_elf_files_are_refused(void **state)
{
	struct elf_file f;

	make_elf(&f);
	assert_refused(&f, 32, 64 * MIB, "truncated");
	assert_refused(&f, offsetof(struct elf_file, text) + 63, 64 * MIB,
		       "truncated");
	f.eh.e_machine = EM_AARCH64;
	assert_refused(&f, sizeof(f), 64 * MIB, "not an x86-64 executable");
	make_elf(&f);
	f.eh.e_phoff = ~0ULL;
	assert_refused(&f, sizeof(f), 64 * MIB, "no program headers");
	make_elf(&f);
	f.eh.e_phnum = 0xffff;
	assert_refused(&f, sizeof(f), 64 * MIB, "no program headers");
	make_elf(&f);
	f.ph[0].p_paddr = 0x7000;
	assert_refused(&f, sizeof(f), 64 * MIB, "cannot be loaded");
	make_elf(&f);
	f.ph[0].p_paddr = ~0ULL - 16;
	assert_refused(&f, sizeof(f), 64 * MIB, "cannot be loaded");
	make_elf(&f);
	f.ph[0].p_memsz = 1ULL << 40;
	assert_refused(&f, sizeof(f), 64 * MIB, "too little");
	make_elf(&f);
	f.ph[0].p_filesz = ~0ULL;
	assert_refused(&f, sizeof(f), 64 * MIB, "truncated");
	make_elf(&f);
	f.eh.e_entry = 0x500;
	assert_refused(&f, sizeof(f), 64 * MIB, "entry point");
	make_elf(&f);
	f.ph[0].p_type = PT_NULL;
	assert_refused(&f, sizeof(f), 64 * MIB, "entry point");
}

static void random_elf_bytes_never_crash_the_loader(void **state)
{
	unsigned int i, j;

	srand(2);
	for (i = 0; i < 500; i++) {
		struct elf_file f;
		struct rig r;

		make_elf(&f);
		for (j = 0; j < 3; j++)
			((uint8_t *)&f)[16 + rand() % 250] = rand();
		rig_init(&r, 32 * MIB);
		write_file(r.kernel, &f, sizeof(f));
		load(&r);
		rig_destroy(&r);
	}
}

/* --- the real thing ------------------------------------------------------ */

static void debian_cloud_kernel_is_taken(void **state)
{
	struct boot_params *bp;
	struct stat st;
	struct rig r;

	if (stat(REAL_KERNEL, &st) < 0) {
		print_message("SKIP: no " REAL_KERNEL "\n");
		skip();
	}
	rig_init(&r, 256 * MIB);
	r.req.kernel = REAL_KERNEL;
	assert_int_equal(load(&r), 0);
	bp = (struct boot_params *)(r.mem.host + BOOT_PARAMS);
	assert_int_equal(bp->hdr.header, 0x53726448);
	assert_true(bp->hdr.xloadflags & XLF_KERNEL_64);
	/* its 64-bit entry begins with cld; cli */
	assert_int_equal(r.mem.host[r.res.entry], 0xfc);
	assert_int_equal(r.mem.host[r.res.entry + 1], 0xfa);
	rig_destroy(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bzimage_payload_and_header_are_in_place),
		cmocka_unit_test(fixed_kernel_goes_to_its_own_address),
		cmocka_unit_test(e820_leaves_out_the_hole_and_the_bios),
		cmocka_unit_test(initrd_is_above_the_kernel_and_below_its_limit),
		cmocka_unit_test(page_tables_map_4_gib_to_itself),
		cmocka_unit_test(gdt_has_the_selectors_linux_wants),
		cmocka_unit_test(every_truncation_of_a_bzimage_is_refused),
		cmocka_unit_test(damaged_setup_headers_are_refused),
		cmocka_unit_test(random_header_bytes_never_crash_the_loader),
		cmocka_unit_test(other_files_are_no_kernels),
		cmocka_unit_test(directories_and_missing_files_are_named),
		cmocka_unit_test(initrd_errors_name_the_initrd),
		cmocka_unit_test(too_little_memory_says_how_much_is_needed),
		cmocka_unit_test(initrd_that_does_not_fit_says_how_much_is_needed),
		cmocka_unit_test(command_line_limit_is_the_kernels),
		cmocka_unit_test(elf_goes_to_its_physical_addresses),
		cmocka_unit_test(missing_pvh_note_is_noticed),
		cmocka_unit_test(virtual_entry_is_translated),
		cmocka_unit_test(bad_elf_files_are_refused),
		cmocka_unit_test(random_elf_bytes_never_crash_the_loader),
		cmocka_unit_test(debian_cloud_kernel_is_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
