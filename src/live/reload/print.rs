//! Whether the files of a configuration are as they were.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{Context, SHA256};

use super::Reading;
use crate::{assembly::Assembly, config::Loaded};

/// What files hold, without holding it.
pub(super) type Print = [u8; 32];

pub(super) async fn print(files: &BTreeSet<PathBuf>) -> Print {
    let files = files.clone();
    tokio::task::spawn_blocking(move || print_of(&files)).await.unwrap_or_default()
}

pub(super) fn print_of(files: &BTreeSet<PathBuf>) -> Print {
    let mut context = Context::new(&SHA256);
    for file in files {
        context.update(file.as_os_str().as_encoded_bytes());
        match read(file) {
            Ok(held) => {
                context.update(&(held.len() as u64).to_le_bytes());
                context.update(&held);
            }
            Err(error) => context.update(format!("{:?}", error.kind()).as_bytes()),
        }
    }
    let mut print = [0; 32];
    print.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    print
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut content = Vec::new();
    std::fs::File::open(file)?.take(LONGEST).read_to_end(&mut content)?;
    Ok(content)
}

/// A configuration, and what its files held when it was read.
pub(super) struct Read {
    /// The files that it was read from.
    pub(super) files: BTreeSet<PathBuf>,
    /// Of these.
    pub(super) print: Print,
    /// These, and those that were known before.
    pub(super) looked_at: BTreeSet<PathBuf>,
    /// Of those.
    pub(super) print_of_looked_at: Print,
    /// The configuration and its parts, or every fault, one a line.
    pub(super) made: Result<(Loaded, Assembly), Vec<String>>,
}

/// Reads with `read` until the files held the same before and after, which nobody can tell of a
/// file that was not known before. Where they never do the prints are of nothing, so that it is
/// read again soon.
pub(super) fn steady(read: impl Fn() -> Reading, mut known: BTreeSet<PathBuf>) -> Read {
    for _ in 1..READS {
        let before = print_of(&known);
        let Reading { files, made } = read();
        let print = print_of(&files);
        if files.is_subset(&known) && print_of(&known) == before {
            return Read { files, print, looked_at: known, print_of_looked_at: before, made };
        }
        known.extend(files);
    }
    let Reading { files, made } = read();
    known.extend(files.iter().cloned());
    let nothing = Print::default();
    Read { files, print: nothing, looked_at: known, print_of_looked_at: nothing, made }
}

/// How often a configuration is read when its files do not keep still, or name new ones.
const READS: u8 = 4;
/// No file of a configuration is longer.
const LONGEST: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that another names may change between its being read and being known.
    #[test]
    fn what_changes_while_it_is_read_is_read_again() {
        let directory = std::env::temp_dir().join(format!("steady-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&directory).unwrap();
        let (one, two) = (directory.join("one"), directory.join("two"));
        std::fs::write(&one, "includes two").unwrap();
        let files = BTreeSet::from([one.clone(), two.clone()]);
        for (changes, reads, settled) in [(0, 2, true), (1, 2, true), (2, 3, true), (9, 4, false)] {
            let seen = std::cell::RefCell::new(Vec::new());
            let reading = || {
                let held = std::fs::read_to_string(&two).unwrap_or_default();
                let times = seen.borrow().len();
                seen.borrow_mut().push(held);
                if times < changes {
                    std::fs::write(&two, format!("{times}")).unwrap();
                }
                Reading { files: files.clone(), made: Err(vec![]) }
            };
            let found = steady(reading, BTreeSet::from([one.clone()]));
            assert_eq!(seen.borrow().len(), reads, "{changes}");
            assert_eq!(found.print == print_of(&files), settled, "{changes}");
            assert_eq!(found.print, found.print_of_looked_at);
            if settled && changes > 0 {
                assert_eq!(seen.borrow().last().unwrap(), &format!("{}", changes - 1));
            }
            std::fs::remove_file(&two).unwrap_or_default();
        }
        // One that is included no more is looked at only while the one that was read is of no use.
        let only = BTreeSet::from([one]);
        let reading = || Reading { files: only.clone(), made: Err(vec![]) };
        let found = steady(reading, files.clone());
        assert_eq!((&found.files, &found.looked_at), (&only, &files));
        assert_eq!((found.print, found.print_of_looked_at), (print_of(&only), print_of(&files)));
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_print_changes_with_what_a_file_holds_and_whether_it_is_there() {
        let directory = std::env::temp_dir().join(format!("print-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&directory).unwrap();
        let (one, two) = (directory.join("one"), directory.join("two"));
        let files = BTreeSet::from([one.clone(), two.clone()]);
        let mut prints = vec![print_of(&files)];
        for (file, content) in [(&one, "a"), (&two, ""), (&two, "a"), (&one, "b"), (&one, "")] {
            std::fs::write(file, content).unwrap();
            prints.push(print_of(&files));
        }
        std::fs::remove_file(&one).unwrap();
        prints.push(print_of(&files));
        let different: BTreeSet<_> = prints.iter().collect();
        assert_eq!(different.len(), prints.len());
        assert_eq!(print_of(&files), print_of(&files));
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
