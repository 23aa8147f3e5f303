//! A page whose `sh` blocks can be run: what each answer must contain is in the `text` block below it.

use anyhow::{Result, bail, ensure};

/// Put before a block that needs a host nobody uses.
const NEEDS_FREE_HOST: &str = "<!-- check: needs a free host -->";

/// Commands and what they promise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    /// Line of the page, counted from 1.
    pub(super) line: usize,
    pub(super) commands: String,
    /// Fragments of the answer, in this order.
    pub(super) expected: Vec<String>,
    pub(super) needs_free_host: bool,
}

/// The blocks of a page.
///
/// # Errors
/// When a block has no end, or an answer no question.
pub(super) fn blocks(page: &str) -> Result<Vec<Block>> {
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

/// The first fragment that an answer lacks, in order.
pub(super) fn lacks<'a>(block: &'a Block, answer: &str) -> Option<&'a str> {
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
}
