//! Namespaces for one program: mounts and networks that end with it.

use std::path::Path;
use std::process::{Command, Stdio};

/// Runs `script`, a shell's, in new namespaces (of unshare(1)) after `setting`, a line of a shell.
/// The command line is the script's `"$0" "$@"`. `None` if this user cannot have namespaces.
pub(crate) fn script_in(
    namespaces: &str,
    setting: &str,
    script: &str,
    command: &Command,
) -> Option<Command> {
    let shell = |script: &str| {
        let mut shell = Command::new("unshare");
        shell.args([namespaces, "sh", "-c", script]).stdin(Stdio::null());
        shell
    };
    if !shell(setting).output().is_ok_and(|output| output.status.success()) {
        eprintln!("not tried: this user cannot do this: {setting}");
        return None;
    }
    let mut shell = shell(&format!("{setting} || exit 99\n{script}"));
    shell.arg(command.get_program()).args(command.get_args());
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Some(shell)
}

/// The same, with the command alone in place of a script.
pub(crate) fn apart(namespaces: &str, setting: &str, command: &Command) -> Option<Command> {
    script_in(namespaces, setting, "exec \"$0\" \"$@\"", command)
}

/// Runs `script` in `folder`, on a new disk of this size, such as `3m`.
pub(crate) fn on_a_small_disk(
    folder: &Path,
    size: &str,
    script: &str,
    command: &Command,
) -> Option<Command> {
    let folder = folder.display();
    let setting = format!("mount -t tmpfs -o size={size} tmpfs '{folder}' && cd '{folder}'");
    script_in("-m", &setting, script, command)
}
