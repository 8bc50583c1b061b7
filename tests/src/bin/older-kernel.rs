//! Starts a program as on a kernel that lacks something:
//! `older-kernel WHAT PROGRAM [ARGUMENT]…`.
//!
//! A seccomp filter, which the program and whatever it starts inherit, gives the answers of such
//! a kernel. WHAT is `landlock` (not known), `landlock-off` (known, not switched on), `seccomp`
//! (not known) or `seccomp-filters` (known, without filters).

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let what = arguments.next().expect("what the kernel lacks");
    let (call, errno) = match what.to_str() {
        Some("landlock") => (libc::SYS_landlock_create_ruleset, libc::ENOSYS),
        Some("landlock-off") => (libc::SYS_landlock_create_ruleset, libc::EOPNOTSUPP),
        Some("seccomp") => (libc::SYS_seccomp, libc::ENOSYS),
        Some("seccomp-filters") => (libc::SYS_seccomp, libc::EINVAL),
        _ => panic!("no kernel lacks {}", what.display()),
    };
    let arch = TargetArch::try_from(std::env::consts::ARCH).expect("an architecture");
    let answer = SeccompAction::Errno(errno.unsigned_abs());
    let rules = [(call, Vec::new())].into();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, answer, arch).expect("a filter");
    let filter: BpfProgram = filter.try_into().expect("a filter");
    apply_filter(&filter).expect("a kernel with filters");
    let program = arguments.next().expect("a program");
    let error = Command::new(&program).args(arguments).exec();
    panic!("{}: {error}", program.display());
}
