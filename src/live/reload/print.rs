//! Whether the files of a configuration are as they were.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{Context, SHA256};

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

/// No file of a configuration is longer.
const LONGEST: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

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
