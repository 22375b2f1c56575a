//! The programs that commands of the documents may name: those that are run, and those that cannot
//! be run here, with what is checked in their place. There is no other on the way to a command, so
//! that one of which nobody has thought fails its test.

use std::{env, fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command};

use super::{
    markdown::{Block, Document},
    place::{ORGANISATION, Place},
};
use crate::{printed, top};

/// Run as they are.
const RUN: [&str; 15] = [
    "bash", "cat", "chmod", "cp", "date", "grep", "head", "install", "jq", "kill", "mkdir", "rm",
    "sleep", "sort", "uniq",
];

/// Not run here; what is done instead, in the words of a shell.
const NOT_RUN: [(&str, &str, &str); 6] = [
    (
        "make",
        "builds and tests for minutes, or serves until Ctrl-C: only whether the target is there, \
         and what it would do",
        r#"exec @make -n -C "@top" "$@" > /dev/null"#,
    ),
    (
        "cargo",
        "measures for minutes: only whether the benchmark is there",
        r#"[ "$1 $2" = "bench --bench" ] && [ $# = 3 ] && exec @grep -q "^name = \"$3\"" "@top/Cargo.toml""#,
    ),
    (
        "docker",
        "no container is started here: only whether the files are where it looks for them",
        r#"[ "$1 $2 $3" = "compose up --build" ] && [ $# = 3 ] && [ -s compose.yaml ] && [ -s .env ] && [ -s secrets/sts.pem ]"#,
    ),
    (
        "systemctl",
        "there is no systemd here: it says who the gateway is that serves in its place",
        r#"[ "$*" = "show --property MainPID --value portcullis" ] && exec @cat "@place/pid""#,
    ),
    (
        "promtool",
        "is not there on every machine; tests/deployment/dashboard.rs runs it where it is: only \
         whether the file is there",
        r#"[ "$1 $2" = "check rules" ] && [ -s "$3" ]"#,
    ),
    (
        "portcullis-demo",
        "serves on ports of its own, and so would its tokens be of another provider: only whether \
         it has the command",
        r#"[ $# = 2 ] && "@demo" --help | @grep -q "^  $1 " && echo "token-of-$2""#,
    ),
];

/// `load-tests/run` of the documents: it measures for minutes, and asks machines that are not here.
/// What it lists is listed; of the rest, whether it has each option.
const LOAD_TEST: &str = r#"
[ "$*" = --list ] && exec "@top/load-tests/run" --list
help=$("@top/load-tests/run" --help)
for word; do case $word in --*) @grep -q -- " $word[] ,]" <<< "$help" || exit 2 ;; esac; done
case " $* " in *" --tokens - "*) [ "$(@cat)" ] ;; esac
"#;

/// What a reader fills in.
const FILLED_IN: [(&str, &str); 2] = [
    (r#".request_id == "…""#, r#".request_id == "of-bob""#),
    ("organisationId=…", "organisationId="),
];

/// `run` goes on while the commands after it are done, and takes the place of the one before.
const PORTCULLIS: &str = r#"
run= upgrade=
for word; do case $word in run) run=1 ;; --upgrade) upgrade=1 ;; esac; done
[ "$run" ] || exec "@binary" "$@"
lives() { [ -d "/proc/$1" ] && ! @grep -q '^State:.Z' "/proc/$1/status"; }
gone() { for _ in $(@seq 200); do lives "$1" || return 0; @sleep 0.1; done; return 1; }
old=$(@cat "@place/pid" 2> /dev/null || true)
if [ "$old" ] && [ ! "$upgrade" ]; then kill -TERM "$old" 2> /dev/null; gone "$old" || exit 1; fi
"@binary" "$@" >> "@place/gateway.log" 2>&1 &
new=$!
echo "$new" > "@place/pid"
if [ "$upgrade" ]; then gone "$old" || exit 1; fi
for _ in $(@seq 200); do
    lives "$new" || { @cat "@place/gateway.log" >&2; exit 1; }
    @curl -fsS -o /dev/null "http://127.0.0.1:@admin/readyz" 2> /dev/null && exit 0
    @sleep 0.1
done
exit 1
"#;

/// The name of the gateway, its admin listener and port 8443 are here.
const CURL: &str = r#"exec @curl --max-time 20 --cacert "@place/etc/portcullis/tls.crt" \
    --connect-to desk.example.com:443:127.0.0.1:@port --connect-to 127.0.0.1:9090:127.0.0.1:@admin "$@""#;

fn found(name: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap();
    let mut places = env::split_paths(&path).map(|it| it.join(name));
    places.find(|it| it.is_file()).unwrap_or_else(|| {
        panic!("{name} is not there; tests/install-prerequisites documents installs it")
    })
}

/// Puts the programs into `bin` of a place.
pub(super) fn equip(place: &Place) {
    for name in RUN {
        let at = place.path().join("bin").join(name);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(found(name), at).unwrap();
    }
    let script = |name: &str, text: &str| {
        let [port, admin] = place.ports;
        let mut text = format!("#!{}\n{text}\n", found("bash").display())
            .replace("@binary", env!("CARGO_BIN_EXE_portcullis"))
            .replace("@demo", option_env!("CARGO_BIN_EXE_portcullis-demo").unwrap_or_default())
            .replace("@place", place.path().to_str().unwrap())
            .replace("@top", top().to_str().unwrap())
            .replace("@port", &port.to_string())
            .replace("@admin", &admin.to_string());
        for tool in ["make", "grep", "seq", "sleep", "cat", "curl"] {
            text = text.replace(&format!("@{tool}"), found(tool).to_str().unwrap());
        }
        place.write(name, &text);
        let at = place.path().join(name);
        fs::set_permissions(at, fs::Permissions::from_mode(0o755)).unwrap();
    };
    script("bin/portcullis", PORTCULLIS);
    script("bin/curl", CURL);
    script("load-tests/run", LOAD_TEST);
    for (name, _why, instead) in NOT_RUN {
        script(&format!("bin/{name}"), instead);
    }
}

impl Place {
    /// Runs lines of a shell; whether each of them was well, and what was said.
    pub(super) fn run(&self, what: &str, lines: &str, directory: &str) -> (bool, String) {
        let strict = format!("set -euo pipefail\n{lines}");
        self.shell(what, &strict, directory)
    }

    fn shell(&self, what: &str, lines: &str, directory: &str) -> (bool, String) {
        let pid = fs::read_to_string(self.path().join("pid")).unwrap_or_default();
        let output = Command::new(found("timeout"))
            .arg("120")
            .arg(found("bash"))
            .args(["-c", &format!("exec 2>&1\n{lines}")])
            .current_dir(self.path().join(directory))
            .env_clear()
            .env("PATH", self.path().join("bin"))
            .env("LC_ALL", "C.UTF-8")
            .env("PID", pid.trim())
            // Of conf/demo.yaml.
            .env("DEMO_IAM_CLIENT_SECRET", "secret")
            .env("DEMO_SESSION_KEY", printed(&["keys", "generate", "session"]).trim())
            .env("DEMO_STS_KEY", printed(&["keys", "generate", "issuer"]))
            .output()
            .unwrap();
        assert_ne!(output.status.code(), Some(124), "{what} does not end");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Does what a document says, from its beginning to its end; how many blocks there were.
    pub(super) fn follow(&self, document: &Document) -> usize {
        let directory = if document.file == "conf/deploy/README.md" { "compose" } else { "" };
        let mut done = 0;
        for block in document.blocks.iter().filter(|it| it.is_commands()) {
            let at = format!("{}:{}", document.file, block.line);
            if block.language == "console" {
                self.compare(&at, block, directory);
            } else {
                let lines = self.moved(&filled_in(&block.text));
                let (good, said) = self.run(&at, &lines, directory);
                assert!(good, "{at}\n{lines}\n{said}");
            }
            done += 1;
        }
        done
    }

    /// Each command that is shown says what is shown.
    fn compare(&self, at: &str, block: &Block, directory: &str) {
        for shown in format!("\n{}", block.text).split("\n$ ").skip(1) {
            let (command, expected) = shown.split_once('\n').unwrap_or((shown, ""));
            let (_, said) = self.shell(at, &self.moved(&filled_in(command)), directory);
            let said = self.as_documented(&said);
            let like = alike(
                &expected.trim_end().lines().collect::<Vec<_>>(),
                &said.trim_end().lines().collect::<Vec<_>>(),
            );
            assert!(
                like,
                "{at}: $ {command}\n--- is documented:\n{expected}\n--- is said:\n{said}"
            );
        }
    }
}

fn filled_in(text: &str) -> String {
    let mut text = text.to_owned();
    for (asked, given) in FILLED_IN {
        let given = given.replace("organisationId=", &format!("organisationId={ORGANISATION}"));
        text = text.replace(asked, &given);
    }
    text
}

/// `…` stands for the rest of a line, and alone on its line for any number of lines.
fn alike(shown: &[&str], said: &[&str]) -> bool {
    match (shown, said) {
        ([], []) => true,
        ([any, rest @ ..], said) if any.trim() == "…" => {
            (0..=said.len()).any(|skipped| alike(rest, &said[skipped..]))
        }
        ([line, shown @ ..], [first, said @ ..]) => {
            let same = match line.split_once('…') {
                Some((start, "")) => first.starts_with(start),
                _ => line.trim_end() == first.trim_end(),
            };
            same && alike(shown, said)
        }
        _ => false,
    }
}

#[test]
fn what_is_left_out_is_marked() {
    assert!(alike(&["a", "  …", "c"], &["a", "b", "b", "c"]));
    assert!(alike(&["a b …"], &["a b c"]));
    assert!(!alike(&["a", "c"], &["a", "b", "c"]));
    assert!(!alike(&["a b …"], &["a c"]));
    assert!(!alike(&["a"], &[]));
}

/// A document with a command of which nobody has thought, or that fails, does not pass.
#[test]
fn an_unknown_command_is_noticed() {
    let place = Place::with_files();
    equip(&place);
    for bad in [
        "wget https://example.com",
        "make no-such-target",
        "cargo bench --bench nothing",
        "load-tests/run --no-such-option",
    ] {
        let (good, said) = place.run(bad, bad, "");
        assert!(!good, "{bad}: {said}");
    }
    let (good, said) = place.run(
        "a good one",
        "make help && cargo bench --bench route && load-tests/run --list",
        "",
    );
    assert!(good, "{said}");
}
