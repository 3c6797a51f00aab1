//! Questions that are answered with yes or no.

use super::Input;
use super::settings::truth;
use crate::ui::Asker;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Yes,
    No,
    /// Nobody is there: the input has ended.
    Nobody,
}

/// Asks the user.
pub(crate) struct Prompt {
    asker: Asker,
    input: Option<BufReader<Box<dyn AsyncRead + Send + Unpin>>>,
    terminal: bool,
}

impl std::fmt::Debug for Prompt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prompt").field("terminal", &self.terminal).finish_non_exhaustive()
    }
}

impl Prompt {
    pub(crate) fn new(asker: Asker, input: Input) -> Self {
        Self { asker, input: Some(BufReader::new(input.reader)), terminal: input.terminal }
    }

    /// Asks; the end of the input is a no.
    pub(crate) async fn confirm(&mut self, question: &str) -> bool {
        self.ask(question).await == Answer::Yes
    }

    /// Asks.
    pub(crate) async fn ask(&mut self, question: &str) -> Answer {
        self.asker.show(format!("{question} [y/N] ")).await;
        let (answer, broken) = self.answer().await;
        if !broken {
            self.asker.show("\n").await;
        }
        answer
    }

    /// Reads the answer to a question that was shown already; and whether there is a line break behind it on the screen: who
    /// answers through a pipe leaves none.
    pub(crate) async fn answer(&mut self) -> (Answer, bool) {
        let mut line = String::new();
        if let Some(input) = &mut self.input {
            let _ = input.read_line(&mut line).await;
        }
        let answer = match line.as_str() {
            "" => Answer::Nobody,
            line if truth(line) => Answer::Yes,
            _ => Answer::No,
        };
        (answer, self.terminal && !line.is_empty())
    }

    /// Standard input itself, for who reads all of it.
    pub(crate) fn take_input(&mut self) -> Option<BufReader<Box<dyn AsyncRead + Send + Unpin>>> {
        self.input.take()
    }
}
