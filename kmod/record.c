// SPDX-License-Identifier: GPL-2.0-only
/*
 * Recording a vCPU: what its translator and its translated code report goes
 * through a ring to whoever reads the recording's file.
 *
 * Entries come from the buffer that translated code fills, emptied after each
 * trip to the guest world; everything else comes in between, so the order in the
 * ring is the order in which things happened. The buffer is in the window: what
 * is in it is the guest's word, passed on unchecked.
 *
 * Lifetimes: the file and the vCPU hold one reference each; the file also holds
 * the VM. The vCPU's side runs with its lock held, or in KVM_RUN; the reader only
 * touches the ring.
 *
 * Invariants:
 *  1. Nothing is lost: the vCPU does not enter the guest world before the ring has
 *     room for what that can bring. If it has not all the same, the recording
 *     ends there and says so.
 *  2. head is the vCPU's and tail the reader's; each publishes its own only after
 *     it is done with the words.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/refcount.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#include <popf.h>
#include <popf/record.h>

#include "../monitor/monitor_host.h"
#include "kmod.h"

#define RING_WORDS (1u << 18)
/* A trip: its entries, the units it leads to, and a sweep of all code pages. */
#define RING_ROOM (RING_WORDS / 2)
/* Words that the reader is woken for. */
#define RING_WAKE (RING_WORDS / 8)
#define CLOCK_NS 10000000ull
/* Numbers that the file format can tell apart. */
#define IDS_MAX (1u << 24)

struct recording {
	refcount_t refs;
	struct bt_recorder bt;
	struct vcpu *v;

	/* Which entries to keep. */
	struct popf_record cfg;
	u32 now; /* POPF_RECORD_COMPLETE or SAMPLED */
	bool gap; /* leaving out */
	u64 left; /* entries until that changes */
	u64 skipped;

	/* Bytes of the buffer taken since it was last empty. */
	u32 taken;

	/* Where the monitor has sent control, until it gets there. */
	bool pending;
	u32 how, id, off;

	int cause; /* of what is dropped; -1: as the translator says */
	u64 start_ns, clock_ns;

	/* The ring. */
	u32 *ring;
	u32 head, next; /* next: head when the record under way is complete */
	u32 tail;
	bool ended; /* nothing comes any more */
	bool closed; /* nobody reads any more */
	int error;
	struct mutex read_lock;
	wait_queue_head_t readers, writer;
};

static void recording_put(struct recording *r)
{
	if (!refcount_dec_and_test(&r->refs))
		return;
	kvfree(r->ring);
	kfree(r);
}

/* --- the ring, the vCPU's side ----------------------------------------------- */

static u32 ring_free(const struct recording *r)
{
	return RING_WORDS - (r->head - smp_load_acquire(&r->tail));
}

static void put(struct recording *r, u32 word)
{
	r->ring[r->next++ & (RING_WORDS - 1)] = word;
}

static void put64(struct recording *r, u64 v)
{
	put(r, (u32)v);
	put(r, (u32)(v >> 32));
}

/* A record of so many words: false when there is no room for it. */
static bool begin(struct recording *r, u32 type, u32 words)
{
	if (!r->error && ring_free(r) < words + 8)
		r->error = ENOSPC;
	if (r->error)
		return false;
	r->next = r->head;
	put(r, POPF_RECORD_HEAD(type, words));
	return true;
}

static void end(struct recording *r)
{
	smp_store_release(&r->head, r->next);
	if (r->head - READ_ONCE(r->tail) >= RING_WAKE &&
	    wq_has_sleeper(&r->readers))
		wake_up(&r->readers);
}

static void put_window(struct recording *r, u32 now)
{
	if (!begin(r, POPF_RECORD_WINDOW, 4))
		return;
	put(r, now);
	put64(r, r->skipped);
	end(r);
	r->skipped = 0;
}

static void put_clock(struct recording *r, u64 now)
{
	r->clock_ns = now;
	if (!begin(r, POPF_RECORD_CLOCK, 3))
		return;
	put64(r, now - r->start_ns);
	end(r);
}

static void put_flush(struct recording *r, u32 cause)
{
	if (!begin(r, POPF_RECORD_FLUSH, 2))
		return;
	put(r, cause);
	end(r);
}

/* The last record; there is always room for it, see begin(). */
static void put_end(struct recording *r)
{
	r->next = r->head;
	put(r, POPF_RECORD_HEAD(POPF_RECORD_END, 2));
	put(r, r->error);
	smp_store_release(&r->head, r->next);
	smp_store_release(&r->ended, true);
	wake_up(&r->readers);
}

/* --- what the translator reports --------------------------------------------- */

static void report_tu(void *opaque, const struct bt_recorded_tu *tu)
{
	struct recording *r = opaque;
	u32 words = 10 + DIV_ROUND_UP(tu->len, 4), i, word;

	if (!begin(r, POPF_RECORD_TU, words))
		return;
	put(r, tu->id);
	put(r, tu->mode);
	put(r, tu->len);
	put64(r, tu->gva);
	put64(r, tu->gfn[0]);
	put64(r, tu->gfn[1]);
	for (i = 0; i < tu->len; i += 4) {
		word = 0;
		memcpy(&word, tu->code + i, min(tu->len - i, 4u));
		put(r, word);
	}
	end(r);
}

static void report_dropped(void *opaque, enum bt_dropped why, u64 start, u64 len)
{
	static const u32 usual[] = {
		[BT_DROPPED_GPA] = POPF_RECORD_WRITE,
		[BT_DROPPED_SLOT] = POPF_RECORD_CR3,
		[BT_DROPPED_PAGE] = POPF_RECORD_MAPPING,
		[BT_DROPPED_ALL] = POPF_RECORD_MODE,
	};
	struct recording *r = opaque;
	u32 cause = r->cause < 0 ? usual[why] : r->cause;

	if (why == BT_DROPPED_ALL) {
		put_flush(r, cause);
		return;
	}
	if (!begin(r, POPF_RECORD_INVALIDATE, 7))
		return;
	put(r, cause);
	put(r, why == BT_DROPPED_GPA);
	put64(r, start);
	put64(r, len);
	end(r);
}

/* --- entries ------------------------------------------------------------------- */

/* The window, a burst or a gap is over. */
static void turn_over(struct recording *r)
{
	bool was_gap = r->gap;

	r->gap = r->cfg.gap && !was_gap;
	if (!r->cfg.gap)
		r->left = ~0ull;
	else
		r->left = r->gap ? r->cfg.gap : r->cfg.burst;
	if (r->cfg.gap && (was_gap || r->now == POPF_RECORD_COMPLETE)) {
		r->now = POPF_RECORD_SAMPLED;
		put_window(r, r->now);
	}
}

/* Entries that came one after the other, the first one by how. */
static void keep_entries(struct recording *r, const u32 *ids, u32 n, u32 how)
{
	u32 i;

	if (r->gap) {
		r->skipped += n;
		return;
	}
	if (!begin(r, POPF_RECORD_ENTRIES, n + 2))
		return;
	put(r, how);
	for (i = 0; i < n; i++)
		put(r, READ_ONCE(ids[i]));
	end(r);
}

static void add_entries(struct recording *r, const u32 *ids, u32 n, u32 how)
{
	u32 k;

	while (n) {
		k = min_t(u64, n, r->left);
		keep_entries(r, ids, k, how);
		how = POPF_RECORD_CODE;
		ids += k;
		n -= k;
		r->left -= k;
		if (!r->left)
			turn_over(r);
	}
}

/* The monitor has resumed in the middle of a unit. */
static void add_middle(struct recording *r)
{
	if (r->gap) {
		r->skipped++;
	} else if (begin(r, POPF_RECORD_ENTER, 4)) {
		put(r, r->id);
		put(r, r->off);
		put(r, r->how);
		end(r);
	}
	if (!--r->left)
		turn_over(r);
}

/*
 * The buffer goes on being filled from where it is: an interrupted unit may have
 * read record_at already. It is empty again when a unit has found it full.
 */
void recording_take(struct vcpu *v)
{
	struct recording *r = v->recording;
	u64 used = WINDOW_RECORD_SIZE + READ_ONCE(v->page->record_at);
	const u8 *buffer = v->world->window.record;
	u64 now = host_now_ns();
	u32 how = POPF_RECORD_CODE;
	u32 n;

	/* Anything else is the guest's doing; then nothing is there. */
	if (used > WINDOW_RECORD_SIZE || used % 4 || used < r->taken)
		used = r->taken;
	n = (used - r->taken) / 4;
	if (now - r->clock_ns >= CLOCK_NS)
		put_clock(r, now);
	if (r->pending && r->off)
		add_middle(r);
	else if (r->pending)
		how = r->how;
	if (n || r->off)
		r->pending = false;
	add_entries(r, (const u32 *)(buffer + r->taken), n, how);
	r->taken = used;
}

void recording_rewind(struct vcpu *v)
{
	v->recording->taken = 0;
	v->page->record_at = -(u64)WINDOW_RECORD_SIZE;
}

void recording_note(struct vcpu *v, tpc_t tpc, u32 how)
{
	struct recording *r = v->recording;

	r->how = how;
	r->pending = bt_recorded_place(v->bt, tpc, &r->id, &r->off);
}

void recording_blame(struct vcpu *v, int cause)
{
	v->recording->cause = cause;
}

/* --- beginning and end ------------------------------------------------------------ */

static void recording_stop(struct vcpu *v)
{
	struct recording *r = v->recording;

	r->cause = POPF_RECORD_RECORDER;
	bt_set_recorder(v->bt, NULL);
	put_clock(r, host_now_ns());
	put_window(r, POPF_RECORD_OFF);
	v->recording = NULL;
	put_end(r);
	recording_put(r);
}

void recording_attach(struct vcpu *v)
{
	struct recording *r = v->recording;

	put_flush(r, POPF_RECORD_OTHER);
	r->pending = false;
	bt_set_recorder(v->bt, &r->bt);
}

void recording_wait(struct vcpu *v)
{
	struct recording *r = v->recording;

	if (READ_ONCE(r->closed) || r->error || r->bt.next_id >= IDS_MAX - 4096) {
		if (v->tpc)
			return; /* at the next exact place */
		if (!r->error && !r->closed)
			r->error = EOVERFLOW;
		recording_stop(v);
		return;
	}
	if (likely(ring_free(r) >= RING_ROOM))
		return;
	wait_event_interruptible(r->writer, ring_free(r) >= RING_ROOM ||
						    READ_ONCE(r->closed));
}

void popf_record_fini(struct vcpu *v)
{
	if (v->recording)
		recording_stop(v);
}

/* --- the file ------------------------------------------------------------------------ */

static u32 ring_used(const struct recording *r)
{
	return smp_load_acquire(&r->head) - r->tail;
}

static bool readable(const struct recording *r)
{
	return smp_load_acquire(&r->ended) || ring_used(r) >= RING_WAKE;
}

/* Up to size bytes of the ring: how many, or -EFAULT. */
static ssize_t ring_read(struct recording *r, char __user *buf, size_t size)
{
	u32 n = min_t(size_t, ring_used(r), size / 4);
	u32 at = r->tail & (RING_WORDS - 1);
	u32 first = min(n, RING_WORDS - at);

	if (copy_to_user(buf, r->ring + at, first * 4ul) ||
	    copy_to_user(buf + first * 4ul, r->ring, (n - first) * 4ul))
		return -EFAULT;
	smp_store_release(&r->tail, r->tail + n);
	wake_up(&r->writer);
	return n * 4ul;
}

static ssize_t record_read(struct file *file, char __user *buf, size_t size,
			   loff_t *pos)
{
	struct recording *r = file->private_data;
	ssize_t ret;

	if (size < 4)
		return -EINVAL;
	if (mutex_lock_killable(&r->read_lock))
		return -EINTR;
	ret = 0;
	if (!(file->f_flags & O_NONBLOCK))
		ret = wait_event_interruptible(r->readers, readable(r));
	if (!ret)
		ret = ring_read(r, buf, size);
	if (!ret && !READ_ONCE(r->ended))
		ret = -EAGAIN;
	mutex_unlock(&r->read_lock);
	return ret;
}

static int record_release(struct inode *inode, struct file *file)
{
	struct recording *r = file->private_data;
	struct popf_kvm *kvm = to_kvcpu(r->v)->kvm;

	WRITE_ONCE(r->closed, true);
	wake_up(&r->writer);
	recording_put(r);
	popf_kvm_put(kvm);
	return 0;
}

static const struct file_operations record_fops = {
	.owner = THIS_MODULE,
	.read = record_read,
	.release = record_release,
	.llseek = noop_llseek,
};

static struct recording *recording_alloc(struct vcpu *v,
					 const struct popf_record *cfg)
{
	struct recording *r = kzalloc(sizeof(*r), GFP_KERNEL_ACCOUNT);

	if (!r)
		return NULL;
	r->ring = kvmalloc(RING_WORDS * 4ul, GFP_KERNEL_ACCOUNT);
	if (!r->ring) {
		kfree(r);
		return NULL;
	}
	refcount_set(&r->refs, 2);
	mutex_init(&r->read_lock);
	init_waitqueue_head(&r->readers);
	init_waitqueue_head(&r->writer);
	r->v = v;
	r->cfg = *cfg;
	r->now = POPF_RECORD_COMPLETE;
	r->left = cfg->window;
	r->cause = -1;
	r->start_ns = r->clock_ns = host_now_ns();
	r->bt.tu = report_tu;
	r->bt.dropped = report_dropped;
	r->bt.opaque = r;
	return r;
}

static int recording_begin(struct popf_kvcpu *k, const struct popf_record *cfg)
{
	struct vcpu *v = &k->v;
	struct recording *r;
	struct file *file;
	int fd;

	if (window_add_record(&v->world->window))
		return -ENOMEM;
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;
	r = recording_alloc(v, cfg);
	if (!r) {
		put_unused_fd(fd);
		return -ENOMEM;
	}
	file = anon_inode_getfile("popf-record", &record_fops, r, O_RDONLY);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		kvfree(r->ring);
		kfree(r);
		return PTR_ERR(file);
	}
	popf_kvm_get(k->kvm);
	v->recording = r;
	recording_rewind(v);
	bt_set_recorder(v->bt, &r->bt);
	put_window(r, POPF_RECORD_COMPLETE);
	if (!r->left)
		turn_over(r);
	fd_install(fd, file);
	return fd;
}

long popf_record_start(void *obj, unsigned long arg)
{
	struct popf_kvcpu *k = obj;
	struct popf_record cfg;

	if (copy_from_user(&cfg, (void __user *)arg, sizeof(cfg)))
		return -EFAULT;
	if (cfg.flags || cfg.reserved || !cfg.burst)
		return -EINVAL;
	if (k->v.recording)
		return -EBUSY;
	vcpu_sync(&k->v);
	if (k->v.stopped)
		return -EIO;
	return recording_begin(k, &cfg);
}

long popf_record_stop(void *obj, unsigned long arg)
{
	struct popf_kvcpu *k = obj;

	if (arg)
		return -EINVAL;
	if (!k->v.recording)
		return -ENOENT;
	vcpu_sync(&k->v);
	recording_stop(&k->v);
	return 0;
}
