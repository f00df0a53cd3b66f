//! Asks at the terminal for a user and a password, when no file has them.

#![forbid(unsafe_code)]

use crate::config::Config;
use crate::interrupt::Interrupt;
use crate::login::{Ask, Login, Sources};
use ropewalk::app::terminal::{self, prompt};
use ropewalk::codec::text::escape;
use ropewalk::error::{Error, Result};
use std::os::fd::AsFd;
use std::sync::Arc;

/// The login for the server of `config`.
pub(super) fn login(config: &Config, interrupt: &Arc<Interrupt>) -> Result<Login> {
    let server = &config.server;
    let ask = prompt(escape(server.typed.as_bytes()), interrupt.clone());
    let sources = Sources {
        option: config.auth.clone(),
        host: server.host.clone(),
        port: server.port,
        md5: config.auth_md5,
        ask: Some(ask),
        ..Sources::default()
    };
    Login::find(sources.with_environment(|name| std::env::var_os(name)))
}

/// A function that asks the person at the terminal. A signal ends its wait.
fn prompt(typed: String, interrupt: Arc<Interrupt>) -> Ask {
    Box::new(move |again| {
        let Some(terminal) = prompt::terminal() else { return Ok(None) };
        if again {
            let text = format!("{typed}: the server does not know this user or this password");
            terminal::complain(text);
        }
        let failed = |error| Error::system("terminal", &error);
        let stop = interrupt.wake_socket().map_err(failed)?;
        let ask = |text: String, secret| {
            prompt::ask(&terminal, &text, secret, stop.as_fd()).map_err(failed)
        };
        let Some(user) = ask(format!("User for {typed}: "), false)? else { return Ok(None) };
        let text = format!("Password for {} at {typed}: ", escape(&user));
        Ok(ask(text, true)?.map(|password| (user, password)))
    })
}
