//! Through OpenSSH, with an sshd of the test's own on its own address. Skipped without sshd.
