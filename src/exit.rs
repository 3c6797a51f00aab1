//! Exit codes, all of them.

/// How a command ended. The number is what the shell sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Success,
    /// 1: anything that went wrong: a flag, a file, the engine, an unhealthy service, a time-out.
    Failure,
    /// 130: ended by Ctrl-C or SIGTERM.
    Interrupted,
    /// The code of a container's process (`exec`, `--exit-code-from`); 126 and 127 mean not executable and not found.
    Process(u8),
}

impl Exit {
    /// The number for the shell.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Interrupted => 130,
            Self::Process(code) => code,
        }
    }
}
