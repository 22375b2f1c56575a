//! The unit, its configuration, and what `systemd-analyze` says where it is there.

use std::{
    collections::BTreeMap,
    os::unix::net::UnixDatagram,
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{Directory, configurations, free_port, read, tool};

const UNIT: &str = "conf/deploy/systemd/portcullis.service";

/// Values of each key, in their order.
fn settings() -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in read(UNIT).lines().filter(|line| !line.starts_with('#')) {
        if let Some((key, value)) = line.split_once('=') {
            found.entry(key.to_owned()).or_default().push(value.to_owned());
        }
    }
    found
}

#[test]
fn the_unit_and_its_configuration_agree() {
    let unit = settings();
    let value = configurations::configuration("systemd");
    let mut credentials = 0;
    for path in configurations::secrets(&value, "file") {
        let Some(name) = path.strip_prefix("/run/credentials/portcullis.service/") else {
            assert!(path.starts_with("/etc/portcullis/keys/"), "{path}");
            continue;
        };
        let loads = |it: &&String| it.split(':').next() == Some(name);
        assert!(unit["LoadCredential"].iter().any(|it| loads(&it)), "{name} is not loaded");
        credentials += 1;
    }
    assert_eq!(credentials, unit["LoadCredential"].len(), "a credential that nobody reads");
    assert!(unit["ExecStartPre"][0].starts_with("/usr/bin/portcullis check "));
    assert_eq!(unit["ExecReload"].last().unwrap(), "/bin/kill -HUP $MAINPID");
    assert_eq!(unit["RestartPreventExitStatus"], ["78"]);
    let seconds = |text: &str| text.strip_suffix('s').unwrap().parse::<u32>().unwrap();
    let grace = seconds(value["server"]["grace"].as_str().unwrap());
    assert!(seconds(&unit["TimeoutStopSec"][0]) > grace + 1);
    assert_eq!(value["listeners"][0]["address"].as_str().unwrap(), "0.0.0.0:443");
    assert_eq!(unit["AmbientCapabilities"], ["CAP_NET_BIND_SERVICE"]);
    // Whoever takes over is another process than the one that systemd started.
    assert_eq!((unit["Type"][0].as_str(), unit["NotifyAccess"][0].as_str()), ("notify", "all"));
    let socket = value["server"]["upgrade_socket"].as_str().unwrap();
    assert!(socket.starts_with(&format!("/run/{}/", unit["RuntimeDirectory"][0])), "{socket}");
    assert_eq!(unit["RuntimeDirectoryMode"], ["0700"]);
    assert!(read("conf/deploy/systemd/portcullis.sysusers.conf").contains("u portcullis "));
    assert_eq!(unit["User"], ["portcullis"]);
}

#[test]
fn systemd_takes_the_unit_and_finds_little_exposed() {
    let directory = Directory::new();
    let binary = env!("CARGO_BIN_EXE_portcullis");
    directory.put("portcullis.service", &read(UNIT).replace("/usr/bin/portcullis", binary));
    let unit = directory.path("portcullis.service");
    if let Some(output) = tool("systemd-analyze", &["verify", &unit]) {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && !said.contains("portcullis.service"), "{said}");
    }
    // Tenths of ten: 2.0 is "OK", and what is left is the network and the one capability.
    let arguments = ["security", "--offline=true", "--threshold=20", &unit];
    if let Some(output) = tool("systemd-analyze", &arguments) {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

/// A gateway, and those that it started; none outlives the test.
struct Processes(Child, Vec<u32>);

impl Drop for Processes {
    fn drop(&mut self) {
        for process in &self.1 {
            signal("KILL", *process);
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn signal(name: &str, process: u32) {
    let arguments = [format!("-{name}"), process.to_string()];
    let _ = Command::new("kill").args(arguments).stderr(Stdio::null()).status();
}

/// What systemd hears, and does with it: the process that counts, once it serves.
#[test]
fn a_new_binary_becomes_the_main_process() {
    let directory = Directory::new();
    let (port, admin) = (free_port(), free_port());
    let root = directory.path("");
    directory.put(
        "gateway.yaml",
        &format!(
            "public_url: http://localhost:{port}\nlisteners: [ {{ address: '127.0.0.1:{port}' }} ]\n\
             admin: {{ address: '127.0.0.1:{admin}' }}\n\
             upstreams: {{ core: {{ servers: ['127.0.0.1:9'], auth: {{ mode: NONE }} }} }}\n\
             routes: [ {{ path: /a, access: public, upstream: core }} ]\n\
             server: {{ grace: 2s, upgrade_socket: '{root}run/upgrade' }}\n"
        ),
    );
    let socket = UnixDatagram::bind(directory.path("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let heard = || {
        let mut message = [0; 256];
        let length = socket.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    };
    let main = |told: &str| {
        let lines: BTreeMap<&str, &str> =
            told.lines().filter_map(|it| it.split_once('=')).collect();
        assert_eq!(lines["READY"], "1", "{told}");
        lines["MAINPID"].parse::<u32>().unwrap()
    };
    let gateway = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["run", "--config", &directory.path("gateway.yaml")])
        .env("NOTIFY_SOCKET", directory.path("notify"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut processes = Processes(gateway, Vec::new());
    let first = main(&heard());
    assert_eq!(first, processes.0.id());

    // The new one hands on as well.
    signal("USR2", first);
    let second = main(&heard());
    processes.1.push(second);
    assert_ne!(second, first);
    assert!(processes.0.wait().unwrap().success());
    signal("USR2", second);
    let third = main(&heard());
    processes.1.push(third);
    assert_ne!(third, second);

    signal("TERM", third);
    assert_eq!(heard().trim(), "STOPPING=1");
}
