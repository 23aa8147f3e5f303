//! A page whose `sh` blocks can be run: what each answer must contain is in the `text` block below it.

use std::process::ExitStatus;

use anyhow::{Result, bail, ensure};

/// Put before a block that needs a host nobody uses.
const NEEDS_FREE_HOST: &str = "<!-- check: needs a free host -->";

/// A line between the answers of two blocks.
const MARK: &str = "@@@ block";

/// Commands and what they promise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Line of the page, counted from 1.
    pub line: usize,
    /// What is run.
    pub commands: String,
    /// Fragments of the answer, in this order.
    pub expected: Vec<String>,
    /// Fails where every host is in use.
    pub needs_free_host: bool,
}

/// The blocks of a page.
///
/// # Errors
/// When a block has no end, or an answer no question.
pub fn blocks(page: &str) -> Result<Vec<Block>> {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut marked, mut below) = (false, false);
    let mut lines = page.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let number = number + 1;
        match line {
            NEEDS_FREE_HOST => marked = true,
            "```sh" => {
                let commands = fenced(&mut lines, number)?.join("\n");
                blocks.push(Block {
                    line: number,
                    commands,
                    expected: Vec::new(),
                    needs_free_host: marked,
                });
                (marked, below) = (false, true);
            }
            "```text" => {
                let expected = fenced(&mut lines, number)?;
                match blocks.last_mut().filter(|_| below) {
                    Some(block) => {
                        block.expected = expected.iter().map(|line| line.trim().to_owned()).collect()
                    }
                    None => bail!("line {number}: an answer without commands above it"),
                }
                below = false;
            }
            other => {
                ensure!(
                    !other.starts_with("```"),
                    "line {number}: {other} is neither sh nor text"
                );
                below = below && other.is_empty();
            }
        }
    }
    Ok(blocks)
}

fn fenced<'a>(lines: &mut impl Iterator<Item = (usize, &'a str)>, start: usize) -> Result<Vec<&'a str>> {
    let mut inside = Vec::new();
    for (_, line) in lines {
        if line == "```" {
            return Ok(inside);
        }
        inside.push(line);
    }
    bail!("the block of line {start} has no end")
}

/// What runs them one after the other in one bash, after `before`.
pub fn script(before: &str, blocks: &[&Block]) -> String {
    let mut script = format!("set -euo pipefail\n{before}\n");
    for block in blocks {
        script.push_str(&format!("echo '{MARK} {}'\n{}\n", block.line, block.commands));
    }
    script
}

/// How many promises of a page were kept.
///
/// # Errors
/// When one was not, or the commands failed; with the line and the end of the answer.
pub fn judge(page: &str, blocks: &[&Block], status: ExitStatus, log: &str) -> Result<usize> {
    let answers: Vec<(usize, &str)> = log
        .split(MARK)
        .skip(1)
        .filter_map(|part| {
            let (line, answer) = part.split_once('\n')?;
            Some((line.trim().parse().ok()?, answer))
        })
        .collect();
    let last = answers.last().map(|(line, _)| *line);
    let mut kept = 0;
    for block in blocks {
        let line = block.line;
        let Some((_, answer)) = answers.iter().find(|(number, _)| *number == line) else {
            bail!("{page}:{line}: not reached");
        };
        ensure!(
            status.success() || last != Some(line),
            "{page}:{line}: the commands failed ({status}):\n{}",
            end(answer)
        );
        if let Some(fragment) = lacks(block, answer) {
            bail!(
                "{page}:{line}: the answer lacks {fragment:?}; it is:\n{}",
                end(answer)
            );
        }
        kept += block.expected.len();
    }
    Ok(kept)
}

/// The last lines of a text.
pub fn end(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(25);
    lines.get(from..).unwrap_or_default().join("\n")
}

/// The first fragment that an answer lacks, in order.
fn lacks<'a>(block: &'a Block, answer: &str) -> Option<&'a str> {
    let mut rest = answer;
    for fragment in &block.expected {
        match rest.split_once(fragment.as_str()) {
            Some((_, after)) => rest = after,
            None => return Some(fragment),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "Words\n\n```sh\na\nb\n```\n```text\n one\ntwo\n```\nmore\n<!-- check: needs a free host -->\n```sh\nc\n```\n";

    #[test]
    fn blocks_come_with_their_answers() {
        let all = blocks(PAGE).unwrap();
        assert_eq!(all.len(), 2);
        let first = all.first().unwrap();
        assert_eq!(
            (first.line, first.commands.as_str(), first.needs_free_host),
            (3, "a\nb", false)
        );
        assert_eq!(first.expected, ["one", "two"]);
        let last = all.last().unwrap();
        assert!(last.needs_free_host && last.expected.is_empty());
    }

    #[test]
    fn a_page_that_cannot_be_run_is_refused() {
        for page in [
            "```sh\na\n",
            "```text\na\n```\n",
            "```sh\na\n```\nwords\n```text\nb\n```\n",
            "```\na\n```\n",
        ] {
            assert!(blocks(page).is_err(), "{page}");
        }
    }

    #[test]
    fn fragments_must_be_there_in_order() {
        let all = blocks(PAGE).unwrap();
        let first = all.first().unwrap();
        assert_eq!(lacks(first, "x one y two z"), None);
        assert_eq!(lacks(first, "two one"), Some("two"));
    }

    #[test]
    fn answers_are_judged_by_the_promises_above_which_they_stand() {
        use std::os::unix::process::ExitStatusExt as _;
        let all = blocks(PAGE).unwrap();
        let all: Vec<&Block> = all.iter().collect();
        let (ended, failed) = (ExitStatus::from_raw(0), ExitStatus::from_raw(256));
        let good = "x\n@@@ block 3\none\ntwo\n@@@ block 13\n";
        assert_eq!(judge("p", &all, ended, good).unwrap(), 2);
        for (status, log, word) in [
            (
                ended,
                "@@@ block 3\ntwo\none\n@@@ block 13\n",
                "p:3: the answer lacks \"two\"",
            ),
            (failed, "@@@ block 3\none\ntwo\n", "p:3: the commands failed"),
            (ended, "@@@ block 3\none\ntwo\n", "p:13: not reached"),
            (failed, good, "p:13: the commands failed"),
        ] {
            let error = judge("p", &all, status, log).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
