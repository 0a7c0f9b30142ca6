// SPDX-License-Identifier: GPL-2.0-only
/*
 * What becomes of an instruction: by mnemonic where that matters, else by
 * category. Whatever is in neither table is CLS_NONE and is treated as a callout,
 * never copied; tests/unit/test_bt_classify.c proves that nothing is.
 *
 * Copied are instructions that do the same in ring 3 as in ring 0. Those that
 * fault in ring 3, or that quietly do or show something else there, are not.
 */
#include "bt.h"

#define M(name) ZYDIS_MNEMONIC_##name
#define C(name) ZYDIS_CATEGORY_##name

static const u8 by_mnemonic[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
	/* control transfer */
	[M(JMP)] = CLS_JMP,
	[M(JB)] = CLS_JCC,
	[M(JBE)] = CLS_JCC,
	[M(JL)] = CLS_JCC,
	[M(JLE)] = CLS_JCC,
	[M(JNB)] = CLS_JCC,
	[M(JNBE)] = CLS_JCC,
	[M(JNL)] = CLS_JCC,
	[M(JNLE)] = CLS_JCC,
	[M(JNO)] = CLS_JCC,
	[M(JNP)] = CLS_JCC,
	[M(JNS)] = CLS_JCC,
	[M(JNZ)] = CLS_JCC,
	[M(JO)] = CLS_JCC,
	[M(JP)] = CLS_JCC,
	[M(JS)] = CLS_JCC,
	[M(JZ)] = CLS_JCC,
	[M(LOOP)] = CLS_LOOP,
	[M(LOOPE)] = CLS_LOOP,
	[M(LOOPNE)] = CLS_LOOP,
	[M(JRCXZ)] = CLS_LOOP,
	[M(JECXZ)] = CLS_LOOP,
	[M(CALL)] = CLS_CALL,
	[M(RET)] = CLS_RET,
	[M(IRET)] = CLS_CALLOUT,
	[M(IRETD)] = CLS_CALLOUT,
	[M(IRETQ)] = CLS_IRET,
	[M(SYSRET)] = CLS_SYSRET,
	[M(WRMSR)] = CLS_WRMSR,
	/* transactions are not offered; XBEGIN must not find them */
	[M(XBEGIN)] = CLS_CALLOUT,
	[M(XEND)] = CLS_CALLOUT,
	[M(XABORT)] = CLS_CALLOUT,
	[M(XTEST)] = CLS_CALLOUT,
	/* Knights Corner only */
	[M(JKZD)] = CLS_UD,
	[M(JKNZD)] = CLS_UD,
	[M(CLEVICT0)] = CLS_UD,
	[M(CLEVICT1)] = CLS_UD,
	[M(VPREFETCH0)] = CLS_UD,
	[M(VPREFETCH1)] = CLS_UD,
	[M(VPREFETCH2)] = CLS_UD,
	[M(VPREFETCHE0)] = CLS_UD,
	[M(VPREFETCHE1)] = CLS_UD,
	[M(VPREFETCHE2)] = CLS_UD,
	[M(VPREFETCHENTA)] = CLS_UD,
	[M(VPREFETCHNTA)] = CLS_UD,
	/* flags */
	[M(PUSHFQ)] = CLS_PUSHF,
	[M(PUSHF)] = CLS_CALLOUT,
	[M(PUSHFD)] = CLS_CALLOUT,
	[M(POPFQ)] = CLS_POPF,
	[M(POPF)] = CLS_CALLOUT,
	[M(POPFD)] = CLS_CALLOUT,
	[M(CLI)] = CLS_CLI,
	[M(STI)] = CLS_STI,
	[M(CLAC)] = CLS_CALLOUT,
	[M(STAC)] = CLS_CALLOUT,
	/* segments: MOV, PUSH and POP are looked at again in classify() */
	[M(SWAPGS)] = CLS_SWAPGS,
	[M(RDFSBASE)] = CLS_FSGSBASE,
	[M(RDGSBASE)] = CLS_FSGSBASE,
	[M(WRFSBASE)] = CLS_FSGSBASE,
	[M(WRGSBASE)] = CLS_FSGSBASE,
	[M(LFS)] = CLS_CALLOUT,
	[M(LGS)] = CLS_CALLOUT,
	[M(LSS)] = CLS_CALLOUT,
	/* time and processor identity */
	[M(RDTSC)] = CLS_RDTSC,
	[M(RDTSCP)] = CLS_RDTSCP,
	[M(RDPID)] = CLS_RDPID,
	[M(CPUID)] = CLS_CALLOUT,
	[M(XGETBV)] = CLS_CALLOUT,
	[M(XSETBV)] = CLS_CALLOUT,
	[M(XSAVES)] = CLS_CALLOUT,
	[M(XSAVES64)] = CLS_CALLOUT,
	[M(XRSTORS)] = CLS_CALLOUT,
	[M(XRSTORS64)] = CLS_CALLOUT,
	[M(INVPCID)] = CLS_CALLOUT,
	[M(MONITOR)] = CLS_CALLOUT,
	[M(MONITORX)] = CLS_CALLOUT,
	[M(MWAIT)] = CLS_CALLOUT,
	[M(MWAITX)] = CLS_CALLOUT,
	[M(MCOMMIT)] = CLS_CALLOUT,
	[M(LLWPCB)] = CLS_CALLOUT,
	[M(SLWPCB)] = CLS_CALLOUT,
	[M(LWPINS)] = CLS_CALLOUT,
	[M(LWPVAL)] = CLS_CALLOUT,
	/* undefined on purpose */
	[M(UD0)] = CLS_UD,
	[M(UD1)] = CLS_UD,
	[M(UD2)] = CLS_UD,
	/* no-ops while shadow stacks are off, and they are */
	[M(ENDBR32)] = CLS_VERBATIM,
	[M(ENDBR64)] = CLS_VERBATIM,
	[M(RDSSPD)] = CLS_NOTHING,
	[M(RDSSPQ)] = CLS_NOTHING,
	[M(NOP)] = CLS_VERBATIM,
	[M(LEA)] = CLS_LEA,
	/* named so that the unit test sees them decided */
	[M(CLFLUSH)] = CLS_COPY,
	[M(ENTER)] = CLS_COPY,
	[M(LEAVE)] = CLS_COPY,
	[M(LFENCE)] = CLS_COPY,
	[M(MFENCE)] = CLS_COPY,
	[M(SFENCE)] = CLS_COPY,
	[M(PAUSE)] = CLS_COPY,
	[M(XLAT)] = CLS_COPY,
	[M(CLC)] = CLS_COPY,
	[M(STC)] = CLS_COPY,
	[M(CMC)] = CLS_COPY,
	[M(CLD)] = CLS_COPY,
	[M(STD)] = CLS_COPY,
	[M(LAHF)] = CLS_COPY,
	[M(SAHF)] = CLS_COPY,
	[M(XSAVE)] = CLS_COPY,
	[M(XSAVE64)] = CLS_COPY,
	[M(XSAVEC)] = CLS_COPY,
	[M(XSAVEC64)] = CLS_COPY,
	[M(XSAVEOPT)] = CLS_COPY,
	[M(XSAVEOPT64)] = CLS_COPY,
	[M(XRSTOR)] = CLS_COPY,
	[M(XRSTOR64)] = CLS_COPY,
};

static const u8 by_category[ZYDIS_CATEGORY_MAX_VALUE + 1] = {
	[C(ADOX_ADCX)] = CLS_COPY,
	[C(AES)] = CLS_COPY,
	[C(AMD3DNOW)] = CLS_COPY,
	[C(AVX)] = CLS_COPY,
	[C(AVX2)] = CLS_COPY,
	[C(AVX2GATHER)] = CLS_COPY,
	[C(AVX512)] = CLS_COPY,
	[C(AVX512_4FMAPS)] = CLS_COPY,
	[C(AVX512_4VNNIW)] = CLS_COPY,
	[C(AVX512_BITALG)] = CLS_COPY,
	[C(AVX512_VBMI)] = CLS_COPY,
	[C(AVX512_VP2INTERSECT)] = CLS_COPY,
	[C(BINARY)] = CLS_COPY,
	[C(BITBYTE)] = CLS_COPY,
	[C(BLEND)] = CLS_COPY,
	[C(BMI1)] = CLS_COPY,
	[C(BMI2)] = CLS_COPY,
	[C(BROADCAST)] = CLS_COPY,
	[C(CLDEMOTE)] = CLS_COPY,
	[C(CLFLUSHOPT)] = CLS_COPY,
	[C(CLWB)] = CLS_COPY,
	[C(CLZERO)] = CLS_COPY,
	[C(CMOV)] = CLS_COPY,
	[C(COMPRESS)] = CLS_COPY,
	[C(CONFLICT)] = CLS_COPY,
	[C(CONVERT)] = CLS_COPY,
	[C(DATAXFER)] = CLS_COPY,
	[C(EXPAND)] = CLS_COPY,
	[C(FCMOV)] = CLS_COPY,
	[C(FMA4)] = CLS_COPY,
	[C(FP16)] = CLS_COPY,
	[C(GATHER)] = CLS_COPY,
	[C(GFNI)] = CLS_COPY,
	[C(IFMA)] = CLS_COPY,
	[C(KMASK)] = CLS_COPY,
	[C(LOGICAL)] = CLS_COPY,
	[C(LOGICAL_FP)] = CLS_COPY,
	[C(LZCNT)] = CLS_COPY,
	[C(MMX)] = CLS_COPY,
	[C(MOVDIR)] = CLS_COPY,
	[C(PCLMULQDQ)] = CLS_COPY,
	[C(POP)] = CLS_COPY,
	[C(PREFETCH)] = CLS_COPY,
	[C(PREFETCHWT1)] = CLS_COPY,
	[C(PUSH)] = CLS_COPY,
	[C(RDRAND)] = CLS_COPY,
	[C(RDSEED)] = CLS_COPY,
	[C(ROTATE)] = CLS_COPY,
	[C(SCATTER)] = CLS_COPY,
	[C(SEMAPHORE)] = CLS_COPY,
	[C(SERIALIZE)] = CLS_COPY,
	[C(SETCC)] = CLS_COPY,
	[C(SHA)] = CLS_COPY,
	[C(SHIFT)] = CLS_COPY,
	[C(SSE)] = CLS_COPY,
	[C(STRINGOP)] = CLS_COPY,
	[C(STTNI)] = CLS_COPY,
	[C(TBM)] = CLS_COPY,
	[C(UFMA)] = CLS_COPY,
	[C(VAES)] = CLS_COPY,
	[C(VBMI2)] = CLS_COPY,
	[C(VEX)] = CLS_COPY,
	[C(VFMA)] = CLS_COPY,
	[C(VPCLMULQDQ)] = CLS_COPY,
	[C(WIDENOP)] = CLS_VERBATIM,
	[C(X87_ALU)] = CLS_COPY,
	[C(XOP)] = CLS_COPY,

	[C(KNC)] = CLS_UD,
	[C(KNCMASK)] = CLS_UD,
	[C(KNCSCALAR)] = CLS_UD,
	/* decoded as NOP because the decoder's MPX mode is off */
	[C(MPX)] = CLS_UD,

	[C(AMX_TILE)] = CLS_CALLOUT,
	[C(CET)] = CLS_CALLOUT,
	[C(ENQCMD)] = CLS_CALLOUT,
	[C(HRESET)] = CLS_CALLOUT,
	[C(INTERRUPT)] = CLS_CALLOUT,
	[C(IO)] = CLS_CALLOUT,
	[C(IOSTRINGOP)] = CLS_CALLOUT,
	[C(KEYLOCKER)] = CLS_CALLOUT,
	[C(KEYLOCKER_WIDE)] = CLS_CALLOUT,
	[C(LEGACY)] = CLS_CALLOUT,
	[C(PADLOCK)] = CLS_CALLOUT,
	[C(PCONFIG)] = CLS_CALLOUT,
	[C(PKU)] = CLS_CALLOUT,
	[C(PT)] = CLS_CALLOUT,
	[C(RDPRU)] = CLS_CALLOUT,
	[C(SGX)] = CLS_CALLOUT,
	[C(SMAP)] = CLS_CALLOUT,
	[C(SYSCALL)] = CLS_CALLOUT,
	[C(SYSRET)] = CLS_CALLOUT,
	[C(SYSTEM)] = CLS_CALLOUT,
	[C(TSX_LDTRK)] = CLS_CALLOUT,
	[C(UINTR)] = CLS_CALLOUT,
	[C(VTX)] = CLS_CALLOUT,
	[C(WAITPKG)] = CLS_CALLOUT,
};

/* MOV, PUSH, POP: the same mnemonic for plain, segment, control and debug. */
static enum bt_class classify_data(const ZydisDecodedInstruction *zi,
				   enum bt_class plain)
{
	if (zi->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT) {
		if (zi->opcode == 0x8c)
			return CLS_MOV_SREG;
		return zi->opcode == 0x8e ? CLS_CALLOUT : plain;
	}
	if (zi->opcode_map != ZYDIS_OPCODE_MAP_0F)
		return plain;
	switch (zi->opcode) {
	case 0x20:
		return CLS_MOV_CR;
	case 0x21:
	case 0x22:
	case 0x23:
	case 0x24:
	case 0x26:
		return CLS_CALLOUT;
	case 0xa0:
	case 0xa8:
		return CLS_PUSH_SREG;
	case 0xa1:
	case 0xa9:
		return CLS_CALLOUT;
	}
	return plain;
}

/* The decoder's own mode knows lengths, not what becomes of RIP. */
bool bt_branch_is_narrow(const ZydisDecodedInstruction *zi)
{
	return (zi->meta.branch_type == ZYDIS_BRANCH_TYPE_SHORT ||
		zi->meta.branch_type == ZYDIS_BRANCH_TYPE_NEAR) &&
	       zi->attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE && !zi->raw.rex.W;
}

enum bt_class classify(const ZydisDecodedInstruction *zi)
{
	enum bt_class cls = by_mnemonic[zi->mnemonic];

	if (cls == CLS_NONE)
		cls = by_category[zi->meta.category];
	if (zi->encoding == ZYDIS_INSTRUCTION_ENCODING_MVEX)
		return CLS_UD;
	switch (zi->mnemonic) {
	case M(MOV):
	case M(PUSH):
	case M(POP):
		cls = classify_data(zi, cls);
		break;
	case M(JMP):
	case M(CALL):
	case M(RET):
		if (zi->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
			cls = CLS_CALLOUT;
		break;
	default:
		break;
	}
	if (zi->attributes & ZYDIS_ATTRIB_IS_PRIVILEGED && cls == CLS_COPY)
		return CLS_CALLOUT;
	return cls;
}
