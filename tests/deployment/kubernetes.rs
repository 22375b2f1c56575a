//! The manifests: every object has what its kind demands, and names, labels, ports and times agree.

use serde_yaml::Value;

use crate::{configurations, documents, tool, top};

const DIRECTORY: &str = "conf/deploy/kubernetes";

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value:?}"))
}

fn list(value: &Value) -> &[Value] {
    value.as_sequence().unwrap_or_else(|| panic!("no list: {value:?}"))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value:?}"))
}

fn objects() -> Vec<Value> {
    let kustomization = documents(&format!("{DIRECTORY}/kustomization.yaml")).remove(0);
    let files = list(&kustomization["resources"]);
    files.iter().flat_map(|file| documents(&format!("{DIRECTORY}/{}", text(file)))).collect()
}

fn object(kind: &str, name: &str) -> Value {
    let named = |it: &Value| text(&it["kind"]) == kind && text(&it["metadata"]["name"]) == name;
    objects().into_iter().find(named).unwrap_or_else(|| panic!("no {kind} {name}"))
}

/// `500ms` does not stand in these files.
fn seconds(duration: &str) -> u64 {
    duration.strip_suffix('s').unwrap().parse().unwrap()
}

#[test]
fn every_object_has_what_its_kind_demands() {
    let demanded: &[(&str, &str, &[&str])] = &[
        ("Namespace", "v1", &[]),
        ("ServiceAccount", "v1", &[]),
        ("Deployment", "apps/v1", &["selector", "template"]),
        ("Service", "v1", &["selector", "ports"]),
        ("PodDisruptionBudget", "policy/v1", &["selector", "maxUnavailable"]),
        (
            "HorizontalPodAutoscaler",
            "autoscaling/v2",
            &["scaleTargetRef", "maxReplicas", "metrics"],
        ),
        ("NetworkPolicy", "networking.k8s.io/v1", &["podSelector", "policyTypes", "ingress"]),
    ];
    let objects = objects();
    for object in &objects {
        let kind = text(&object["kind"]);
        let (_, version, keys) = demanded.iter().find(|it| it.0 == kind).unwrap();
        assert_eq!(text(&object["apiVersion"]), *version, "{kind}");
        for key in *keys {
            assert!(
                !object["spec"][*key].is_null(),
                "{kind} {} has no {key}",
                text(&object["metadata"]["name"])
            );
        }
    }
    for (kind, ..) in demanded {
        assert!(objects.iter().any(|it| text(&it["kind"]) == *kind), "there is no {kind}");
    }
}

#[test]
fn labels_ports_and_names_agree() {
    let deployment = object("Deployment", "portcullis");
    let template = &deployment["spec"]["template"];
    let labels = &template["metadata"]["labels"];
    assert_eq!(&deployment["spec"]["selector"]["matchLabels"], labels);
    let container = &template["spec"]["containers"][0];
    let port = |name: &str| {
        let ports = list(&container["ports"]);
        number(&ports.iter().find(|it| text(&it["name"]) == name).unwrap()["containerPort"])
    };
    for name in ["portcullis", "portcullis-admin"] {
        let service = object("Service", name);
        assert_eq!(&service["spec"]["selector"], labels);
        port(text(&service["spec"]["ports"][0]["targetPort"]));
    }
    let budget = object("PodDisruptionBudget", "portcullis");
    assert_eq!(&budget["spec"]["selector"]["matchLabels"], labels);
    let scaler = object("HorizontalPodAutoscaler", "portcullis");
    let target = &scaler["spec"]["scaleTargetRef"];
    assert_eq!(text(&target["name"]), text(&deployment["metadata"]["name"]));
    assert!(number(&scaler["spec"]["minReplicas"]) > number(&budget["spec"]["maxUnavailable"]));
    assert!(!container["resources"]["requests"]["cpu"].is_null(), "utilisation of what?");
    let policy = object("NetworkPolicy", "portcullis");
    assert_eq!(&policy["spec"]["podSelector"]["matchLabels"], labels);
    assert_eq!(number(&policy["spec"]["ingress"][0]["ports"][0]["port"]), port("https"));
    assert_eq!(number(&policy["spec"]["ingress"][1]["ports"][0]["port"]), port("admin"));
    assert!(policy["spec"]["ingress"][1]["from"].is_sequence(), "metrics are for Prometheus");
    let core = object("NetworkPolicy", "core-from-portcullis-only");
    let rules = list(&core["spec"]["ingress"]);
    assert_eq!(rules.len(), 1, "somebody else reaches Core");
    let from = list(&rules[0]["from"]);
    assert_eq!(from.len(), 1, "somebody else reaches Core");
    assert_eq!(&from[0]["podSelector"]["matchLabels"], labels);

    let gateway = configurations::configuration("kubernetes");
    let listens =
        |address: &Value| text(address).rsplit(':').next().unwrap().parse::<u64>().unwrap();
    assert_eq!(listens(&gateway["listeners"][0]["address"]), port("https"));
    assert_eq!(listens(&gateway["admin"]["address"]), port("admin"));
    let server = text(&gateway["upstreams"]["core"]["servers"][0]);
    assert_eq!(
        server.rsplit(':').next().unwrap(),
        rules[0]["ports"][0]["port"].as_u64().unwrap().to_string()
    );
    let mounts = list(&container["volumeMounts"]);
    for file in configurations::secrets(&gateway, "file") {
        let directory = file.rsplit_once('/').unwrap().0;
        assert!(mounts.iter().any(|it| text(&it["mountPath"]) == directory), "{file}");
    }
}

#[test]
fn a_pod_may_do_little_is_asked_the_right_things_and_has_time_to_end() {
    let deployment = object("Deployment", "portcullis");
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(text(&pod["securityContext"]["seccompProfile"]["type"]), "RuntimeDefault");
    assert_eq!(pod["automountServiceAccountToken"], false);
    let container = &pod["containers"][0];
    let may = &container["securityContext"];
    assert_eq!(may["allowPrivilegeEscalation"], false);
    assert_eq!(may["readOnlyRootFilesystem"], true);
    assert_eq!(text(&may["capabilities"]["drop"][0]), "ALL");
    for (probe, path) in
        [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")]
    {
        assert_eq!(text(&container[probe]["httpGet"]["path"]), path);
        assert_eq!(text(&container[probe]["httpGet"]["port"]), "admin");
    }
    assert_eq!(list(&pod["topologySpreadConstraints"]).len(), 2);
    let gateway = configurations::configuration("kubernetes");
    let grace = seconds(text(&gateway["server"]["grace"]));
    let before = number(&container["lifecycle"]["preStop"]["sleep"]["seconds"]);
    assert!(number(&pod["terminationGracePeriodSeconds"]) > before + grace + 1);
}

#[test]
fn kustomize_takes_them() {
    let directory = top().join(DIRECTORY);
    let Some(output) = tool("kubectl", &["kustomize", directory.to_str().unwrap()]) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made = String::from_utf8(output.stdout).unwrap();
    assert_eq!(made.lines().filter(|it| it.starts_with("kind: ")).count(), objects().len() + 1);
    assert!(made.contains("name: portcullis-config-"), "the configuration's name has no hash");
    assert!(!made.contains("kind: Secret"), "secrets are given by reference");
}
