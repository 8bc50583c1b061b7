//! System calls, by seccomp: those that an engine, a runtime and an allocator need, and no
//! others.
//!
//! Three filters are stacked, and the strictest word counts. One lets through what is needed
//! and answers `EPERM` to the rest, which libraries take for an old kernel. One kills the process
//! for what nothing in it ever does: a guest that gets so far has broken out. One lets thread
//! libraries believe that `clone3` does not exist, because a filter cannot look into its
//! arguments. Machine code that arrives later must become executable, so `mprotect` may do
//! that, but not where the same mapping stays writable.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

/// What is always needed, whatever its arguments.
const NEEDED: &[i64] = &[
    // Memory.
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_membarrier,
    // What memories begin as is kept in files of memory, from which it is copied on write.
    libc::SYS_memfd_create,
    libc::SYS_ftruncate,
    // What is open already.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_fcntl,
    // Sockets that the host connected.
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockopt,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    // Waiting.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_restart_syscall,
    // Threads, and signals within the process.
    libc::SYS_clone3,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_sched_getaffinity,
    libc::SYS_getcpu,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Others that tell nothing of the machine's secrets.
    libc::SYS_getrandom,
    libc::SYS_uname,
    libc::SYS_sysinfo,
];

/// Besides, where there are folders: Landlock says in which.
const WITH_FILES: &[i64] = &[
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fstatfs,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_utimensat,
];

/// By which old names the same goes on this architecture.
#[cfg(target_arch = "x86_64")]
const OLD_NAMES: &[i64] = &[libc::SYS_epoll_wait, libc::SYS_poll, libc::SYS_time];
#[cfg(not(target_arch = "x86_64"))]
const OLD_NAMES: &[i64] = &[];

/// What only somebody does who broke out.
const HOSTILE: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_personality,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
    libc::SYS_landlock_create_ruleset,
];

/// Old names of the same.
#[cfg(target_arch = "x86_64")]
const HOSTILE_OLD_NAMES: &[i64] = &[libc::SYS_fork, libc::SYS_vfork, libc::SYS_iopl];
#[cfg(not(target_arch = "x86_64"))]
const HOSTILE_OLD_NAMES: &[i64] = &[];

/// `ioctl`: which pages were touched, and whether a socket waits.
const PAGEMAP_SCAN: u64 = 0xc060_6610;
const FIONBIO: u64 = 0x5421;

const EXEC: u64 = libc::PROT_EXEC as u64;
const WRITE: u64 = libc::PROT_WRITE as u64;

/// Let this thread and those that it starts make no other system calls, those with paths only
/// where there are `files`; whether the kernel can do that at all.
pub(super) fn restrict(files: bool) -> Result<bool, String> {
    let refused = |error: Error| format!("seccomp refused the filter: {error}");
    let programs = programs(files).map_err(refused)?;
    for (at, program) in programs.iter().enumerate() {
        match apply_filter(program) {
            Ok(()) => {}
            // A kernel without seccomp, or without filters.
            Err(Error::Seccomp(error)) if at == 0 && is_absent(&error) => return Ok(false),
            Err(error) => return Err(refused(error)),
        }
    }
    Ok(true)
}

fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL))
}

fn programs(files: bool) -> Result<[BpfProgram; 3], Error> {
    let errno = |number: i32| SeccompAction::Errno(number.unsigned_abs());
    let hostile = HOSTILE.iter().chain(HOSTILE_OLD_NAMES).map(|call| (*call, Vec::new()));
    let kill = program(hostile.collect(), SeccompAction::Allow, SeccompAction::KillProcess)?;
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let clone3 = program(clone3, SeccompAction::Allow, errno(libc::ENOSYS))?;
    let needed = program(needed(files)?, errno(libc::EPERM), SeccompAction::Allow)?;
    Ok([kill, clone3, needed])
}

fn program(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    other: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, Error> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    Ok(SeccompFilter::new(rules, other, matched, arch)?.try_into()?)
}

/// What is let through. A call with rules is let through if one of them holds.
fn needed(files: bool) -> Result<BTreeMap<i64, Vec<SeccompRule>>, Error> {
    let with_files: &[i64] = if files { WITH_FILES } else { &[] };
    let plain = NEEDED.iter().chain(OLD_NAMES).chain(with_files);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        plain.map(|call| (*call, Vec::new())).collect();
    let own = u64::from(std::process::id());
    // Nobody maps a library any more; memory becomes executable when it is no longer writable.
    rules.insert(libc::SYS_mmap, vec![all([without(2, EXEC)?])?]);
    let executable = all([without(2, WRITE)?])?;
    rules.insert(libc::SYS_mprotect, vec![all([without(2, EXEC)?])?, executable]);
    rules.insert(libc::SYS_ioctl, vec![all([is(1, PAGEMAP_SCAN)?])?, all([is(1, FIONBIO)?])?]);
    // A thread, and never a process.
    rules.insert(libc::SYS_clone, vec![all([with(0, libc::CLONE_THREAD as u64)?])?]);
    rules.insert(libc::SYS_tgkill, vec![all([is(0, own)?])?]);
    let names = [libc::PR_SET_NAME, libc::PR_SET_VMA].map(|what| u64::from(what.unsigned_abs()));
    rules.insert(libc::SYS_prctl, vec![all([is(0, names[0])?])?, all([is(0, names[1])?])?]);
    // Its limits may be read and not changed.
    rules.insert(libc::SYS_prlimit64, vec![all([is(0, 0)?, null(2)?])?]);
    // To whom it is connected, and to nobody else: a connection that was closed could be made
    // anew by sending.
    let anew = u64::from(libc::MSG_FASTOPEN.unsigned_abs());
    rules.insert(libc::SYS_sendto, vec![all([without(3, anew)?, null(4)?])?]);
    let local = u64::from(libc::AF_UNIX.unsigned_abs());
    rules.insert(libc::SYS_socketpair, vec![all([is(0, local)?])?]);
    Ok(rules)
}

fn all<const N: usize>(conditions: [SeccompCondition; N]) -> Result<SeccompRule, Error> {
    Ok(SeccompRule::new(conditions.into())?)
}

/// The argument, a number of 32 bits, is this.
fn is(at: u8, value: u64) -> Result<SeccompCondition, Error> {
    number(at, SeccompCmpOp::Eq, value)
}

/// The argument has these bits.
fn with(at: u8, bits: u64) -> Result<SeccompCondition, Error> {
    number(at, SeccompCmpOp::MaskedEq(bits), bits)
}

/// The argument has none of these bits.
fn without(at: u8, bits: u64) -> Result<SeccompCondition, Error> {
    number(at, SeccompCmpOp::MaskedEq(bits), 0)
}

fn number(at: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, Error> {
    Ok(SeccompCondition::new(at, SeccompCmpArgLen::Dword, operator, value)?)
}

/// The argument points nowhere.
fn null(at: u8) -> Result<SeccompCondition, Error> {
    Ok(SeccompCondition::new(at, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_and_what_is_hostile_are_apart() {
        let needed = needed(true).unwrap();
        for call in HOSTILE.iter().chain(HOSTILE_OLD_NAMES) {
            assert!(!needed.contains_key(call), "{call}");
        }
        let without = super::needed(false).unwrap();
        assert!(WITH_FILES.iter().all(|call| !without.contains_key(call)));
        assert!(programs(true).is_ok());
    }
}
