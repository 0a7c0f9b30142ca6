// SPDX-License-Identifier: GPL-2.0-only
/*
 * Linux loader: bzImage through its 64-bit entry point, ELF vmlinux through
 * its ELF entry point, both with boot_params in RSI and paging already on.
 *
 * Parts: reading files, checking the setup header, placing kernel and initrd,
 * boot_params and memory map, page tables and GDT.
 *
 * Invariants:
 *  1. Every length taken from a file is checked against the file's size and
 *     against guest memory before it is used.
 *  2. The initrd lies above the memory the kernel will unpack itself into, and
 *     below the kernel's own limit for it.
 */
#include "loader.h"

#include <asm/bootparam.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB			(1ULL << 20)

#define HEAD_LEN		1024
#define SETUP_HEADER_OFF	0x1f1
#define SETUP_MAGIC_OFF		0x202
#define SETUP_JUMP_LEN_OFF	0x201
#define BOOT_FLAG		0xaa55
#define HDRS			0x53726448	/* "HdrS" */
#define MIN_PROTOCOL		0x020c		/* xloadflags */
#define SECTOR			512
#define DEFAULT_SETUP_SECTS	4
#define ENTRY_64		0x200
#define LOADER_UNKNOWN		0xff

/* A relocatable kernel goes here first and unpacks itself further up. */
#define LOAD_ADDRESS		0x100000ULL

/* What is assumed about an ELF kernel, which carries no setup header. */
#define ELF_INITRD_MAX		0x7fffffffULL
#define ELF_CMDLINE_MAX		2047

#define E820_RAM		1
#define E820_RESERVED		2
#define E820_ACPI		3

#define ACPI_AREA		0xe0000ULL
#define ACPI_AREA_END		0x100000ULL

/* --- files --------------------------------------------------------------- */

static int check_file(struct image *img, struct error *err)
{
	const char *what = img->what;
	struct stat st;

	if (fstat(img->fd, &st) < 0)
		return error_caller(err, "cannot read the %s '%s': %s", what,
				    img->path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return error_caller(err, "the %s '%s' is not a regular file: give --%s the path of a file",
				    what, img->path, what);
	if (st.st_size == 0)
		return error_caller(err, "the %s '%s' is empty: give --%s a complete file",
				    what, img->path, what);
	img->size = st.st_size;
	return 0;
}

int image_open(struct image *img, const char *what, const char *path,
	       struct error *err)
{
	*img = (struct image){ .what = what, .path = path };
	/* O_NONBLOCK: opening a FIFO by mistake must not hang */
	img->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (img->fd < 0)
		return error_caller(err, "cannot open the %s '%s' (%s): check the path given to --%s",
				    what, path, strerror(errno), what);
	if (check_file(img, err) < 0) {
		image_close(img);
		return -1;
	}
	return 0;
}

void image_close(struct image *img)
{
	close(img->fd);
	img->fd = -1;
}

int image_read(const struct image *img, uint64_t off, void *buf, size_t len,
	       struct error *err)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(img->fd, (char *)buf + done, len - done,
				  off + done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return error_caller(err, "cannot read the %s '%s': %s",
					    img->what, img->path,
					    n ? strerror(errno) :
					    "it became shorter meanwhile");
		done += n;
	}
	return 0;
}

/* --- the setup header of a bzImage --------------------------------------- */

/* The start of the file, as far as it can hold a setup header. */
struct head {
	uint8_t data[HEAD_LEN];
	size_t len;
};

static int read_head(const struct image *img, struct head *head,
		     struct error *err)
{
	memset(head, 0, sizeof(*head));
	head->len = img->size < HEAD_LEN ? img->size : HEAD_LEN;
	return image_read(img, 0, head->data, head->len, err);
}

static bool is_bzimage(const struct head *head)
{
	uint32_t magic;

	memcpy(&magic, head->data + SETUP_MAGIC_OFF, sizeof(magic));
	return head->len >= SETUP_MAGIC_OFF + 4 && magic == HDRS;
}

/* The header as the file has it, zero beyond its own length. */
static int read_setup_header(const struct image *img, const struct head *head,
			     struct setup_header *hdr, struct error *err)
{
	size_t end = SETUP_MAGIC_OFF + head->data[SETUP_JUMP_LEN_OFF];
	size_t len = end - SETUP_HEADER_OFF;

	memset(hdr, 0, sizeof(*hdr));
	if (len > sizeof(*hdr))
		len = sizeof(*hdr);
	if (SETUP_HEADER_OFF + len > head->len)
		return error_caller(err, "the kernel '%s' is truncated within its setup header: get a complete copy",
				    img->path);
	memcpy(hdr, head->data + SETUP_HEADER_OFF, len);
	if (!hdr->setup_sects)
		hdr->setup_sects = DEFAULT_SETUP_SECTS;
	return 0;
}

static size_t payload_offset(const struct setup_header *hdr)
{
	return (hdr->setup_sects + 1) * (size_t)SECTOR;
}

static int check_setup_header(const struct image *img,
			      const struct setup_header *hdr,
			      struct error *err)
{
	uint64_t need = payload_offset(hdr) + (uint64_t)hdr->syssize * 16;

	if (hdr->boot_flag != BOOT_FLAG)
		return error_caller(err, "'%s' is not a Linux kernel: give --kernel a bzImage or an ELF vmlinux",
				    img->path);
	if (hdr->version < MIN_PROTOCOL)
		return error_caller(err, "the kernel '%s' has boot protocol %u.%02u, but 2.12 or later is needed: use Linux 3.8 or later",
				    img->path, hdr->version >> 8,
				    hdr->version & 0xff);
	if (!(hdr->loadflags & LOADED_HIGH) ||
	    !(hdr->xloadflags & XLF_KERNEL_64))
		return error_caller(err, "the kernel '%s' has no 64-bit entry point: use a 64-bit (amd64) bzImage",
				    img->path);
	if (img->size < need || !hdr->syssize)
		return error_caller(err, "the kernel '%s' is truncated: it has %llu bytes and its header promises %llu; get a complete copy",
				    img->path, (unsigned long long)img->size,
				    (unsigned long long)need);
	return 0;
}

/* --- placing ------------------------------------------------------------- */

static uint64_t align_up(uint64_t val, uint64_t align)
{
	return (val + align - 1) & ~(align - 1);
}

static int too_little(const struct guest_mem *mem, uint64_t need,
		      struct error *err)
{
	return error_caller(err, "%llu MiB of memory are too little for this kernel and initrd: give --memory at least %lluM",
			    (unsigned long long)(mem->size / MIB),
			    (unsigned long long)(need / MIB + 1));
}

/* Copies the payload and computes the range the kernel will occupy. */
static int place_bzimage(struct guest_mem *mem, const struct image *img,
			 struct setup_header *hdr, struct boot_result *res,
			 struct error *err)
{
	uint64_t off = payload_offset(hdr);
	uint64_t len = img->size - off;
	uint64_t align = hdr->kernel_alignment;
	uint64_t load = hdr->relocatable_kernel ? LOAD_ADDRESS :
			hdr->pref_address;
	uint64_t run = hdr->pref_address;
	uint64_t end;
	void *dst;

	if (align < 4096 || align > (1 << 30) || (align & (align - 1)) ||
	    run > GUEST_LOW_MAX || load < LOAD_ADDRESS)
		return error_caller(err, "the kernel '%s' has a damaged setup header: get a complete copy",
				    img->path);
	if (hdr->relocatable_kernel && run < align_up(load, align))
		run = align_up(load, align);
	end = run + hdr->init_size;
	if (end < load + len)
		end = load + len;
	dst = guest_mem_ptr(mem, load, len);
	if (!dst || end > mem->low)
		return too_little(mem, end, err);
	if (image_read(img, off, dst, len, err) < 0)
		return -1;

	hdr->code32_start = load;
	res->entry = load + ENTRY_64;
	res->kernel_start = run;
	res->kernel_end = end;
	return 0;
}

static int place_initrd(struct guest_mem *mem, const struct image *img,
			struct setup_header *hdr, struct boot_result *res,
			struct error *err)
{
	uint64_t top = (uint64_t)hdr->initrd_addr_max + 1;
	uint64_t floor = align_up(res->kernel_end, 4096);
	uint64_t addr;

	if (top > mem->low)
		top = mem->low;
	top &= ~4095ULL;
	if (img->size > top || ((top - img->size) & ~4095ULL) < floor) {
		if (top < mem->low)
			return error_caller(err, "the initrd '%s' is too large for this kernel, which takes one below %llu MiB: use a smaller initrd",
					    img->path,
					    (unsigned long long)(top / MIB));
		return too_little(mem, floor + align_up(img->size, 4096), err);
	}
	addr = (top - img->size) & ~4095ULL;
	if (image_read(img, 0, guest_mem_ptr(mem, addr, img->size), img->size,
		       err) < 0)
		return -1;
	res->initrd_start = addr;
	res->initrd_size = img->size;
	hdr->ramdisk_image = addr;
	hdr->ramdisk_size = img->size;
	return 0;
}

static int place_cmdline(struct guest_mem *mem, const char *cmdline,
			 struct setup_header *hdr, struct error *err)
{
	size_t len = strlen(cmdline);
	size_t max = hdr->cmdline_size;

	if (max > BOOT_CMDLINE_MAX - 1)
		max = BOOT_CMDLINE_MAX - 1;
	if (len > max)
		return error_caller(err, "the kernel command line has %zu characters, but this kernel takes at most %zu: shorten --cmdline",
				    len, max);
	memcpy(guest_mem_ptr(mem, BOOT_CMDLINE, len + 1), cmdline, len + 1);
	hdr->cmd_line_ptr = BOOT_CMDLINE;
	return 0;
}

/* --- boot_params --------------------------------------------------------- */

static void e820_add(struct boot_params *bp, uint64_t start, uint64_t end,
		     uint32_t type)
{
	struct boot_e820_entry *e = &bp->e820_table[bp->e820_entries++];

	e->addr = start;
	e->size = end - start;
	e->type = type;
}

static void build_e820(const struct guest_mem *mem, struct boot_params *bp)
{
	e820_add(bp, 0, BOOT_EBDA, E820_RAM);
	e820_add(bp, BOOT_EBDA, 0xa0000, E820_RESERVED);
	e820_add(bp, ACPI_AREA, ACPI_AREA_END, E820_RESERVED);
	e820_add(bp, MIB, mem->low, E820_RAM);
	if (mem->high)
		e820_add(bp, GUEST_HIGH_BASE, GUEST_HIGH_BASE + mem->high,
			 E820_RAM);
}

/* The two words of the BIOS data area kernels look at: EBDA and low memory. */
static void build_bios_data(struct guest_mem *mem)
{
	const uint16_t ebda_segment = BOOT_EBDA >> 4;
	const uint16_t low_kib = BOOT_EBDA >> 10;

	memcpy(guest_mem_ptr(mem, 0x40e, 2), &ebda_segment, 2);
	memcpy(guest_mem_ptr(mem, 0x413, 2), &low_kib, 2);
}

static void build_boot_params(struct guest_mem *mem,
			      const struct boot_request *req,
			      const struct setup_header *hdr)
{
	struct boot_params *bp = guest_mem_ptr(mem, BOOT_PARAMS, sizeof(*bp));

	memset(bp, 0, sizeof(*bp));
	bp->hdr = *hdr;
	bp->hdr.type_of_loader = LOADER_UNKNOWN;
	bp->acpi_rsdp_addr = req->acpi_rsdp;
	build_e820(mem, bp);
	build_bios_data(mem);
}

static int load_initrd(struct guest_mem *mem, const struct boot_request *req,
		       struct setup_header *hdr, struct boot_result *res,
		       struct error *err)
{
	struct image initrd;
	int r;

	if (!req->initrd)
		return 0;
	if (image_open(&initrd, "initrd", req->initrd, err) < 0)
		return -1;
	r = place_initrd(mem, &initrd, hdr, res, err);
	image_close(&initrd);
	return r;
}

/* --- paging and segments ------------------------------------------------- */

/*
 * Identity mapping of the first 4 GiB with 2 MiB pages. Accessed and dirty are
 * set beforehand: it spares the monitor the updates.
 */
static void build_page_tables(struct guest_mem *mem)
{
	const uint64_t flags = 0x63;	/* P, RW, A, D */
	uint64_t *table = guest_mem_ptr(mem, BOOT_PAGES, BOOT_PAGES_LEN);
	uint64_t *pml4 = table, *pdpt = table + 512, *pd = table + 1024;
	unsigned int i;

	memset(table, 0, BOOT_PAGES_LEN);
	pml4[0] = (BOOT_PAGES + 0x1000) | (flags & ~0x40);
	for (i = 0; i < 4; i++)
		pdpt[i] = (BOOT_PAGES + 0x2000 + i * 0x1000) | (flags & ~0x40);
	for (i = 0; i < 4 * 512; i++)
		pd[i] = ((uint64_t)i << 21) | 0x80 | flags;
}

/* __BOOT_CS is 10h, __BOOT_DS 18h; a TSS at 20h, because TR must hold one. */
static void build_gdt(struct guest_mem *mem)
{
	const uint64_t gdt[] = {
		0, 0,
		0x00af9b000000ffffULL,
		0x00cf93000000ffffULL,
		0x00008b0000000067ULL, 0,
	};

	memcpy(guest_mem_ptr(mem, BOOT_GDT, sizeof(gdt)), gdt, sizeof(gdt));
}

/* --- all of it ----------------------------------------------------------- */

static int load_kernel(struct guest_mem *mem, const struct image *img,
		       struct setup_header *hdr, struct boot_result *res,
		       struct error *err)
{
	struct head head;

	if (read_head(img, &head, err) < 0)
		return -1;
	if (elf_is(head.data, head.len)) {
		memset(hdr, 0, sizeof(*hdr));
		hdr->boot_flag = BOOT_FLAG;
		hdr->header = HDRS;
		hdr->version = MIN_PROTOCOL;
		hdr->loadflags = LOADED_HIGH;
		hdr->initrd_addr_max = ELF_INITRD_MAX;
		hdr->cmdline_size = ELF_CMDLINE_MAX;
		hdr->kernel_alignment = 1 << 24;
		return elf_load(mem, img, res, err);
	}
	if (!is_bzimage(&head))
		return error_caller(err, "'%s' is not a Linux kernel: give --kernel a bzImage or an ELF vmlinux",
				    img->path);
	if (read_setup_header(img, &head, hdr, err) < 0 ||
	    check_setup_header(img, hdr, err) < 0)
		return -1;
	return place_bzimage(mem, img, hdr, res, err);
}

int loader_load(struct guest_mem *mem, const struct boot_request *req,
		struct boot_result *res, struct error *err)
{
	struct setup_header hdr;
	struct image kernel;
	int r;

	memset(res, 0, sizeof(*res));
	if (mem->low < 2 * MIB)
		return too_little(mem, 2 * MIB, err);
	if (image_open(&kernel, "kernel", req->kernel, err) < 0)
		return -1;
	r = load_kernel(mem, &kernel, &hdr, res, err);
	image_close(&kernel);
	if (r < 0 || load_initrd(mem, req, &hdr, res, err) < 0 ||
	    place_cmdline(mem, req->cmdline, &hdr, err) < 0)
		return -1;
	build_boot_params(mem, req, &hdr);
	build_page_tables(mem);
	build_gdt(mem);
	res->boot_params = BOOT_PARAMS;
	return 0;
}
