//! The unit, its configuration, and what `systemd-analyze` says where it is there.

use std::collections::BTreeMap;

use crate::{Directory, configurations, read, tool};

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
