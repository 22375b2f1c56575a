//! The Compose file, its gateway and the realm of its provider agree.

use serde_json::Value as Json;
use serde_yaml::Value;

use crate::{configurations, documents, read, top};

const DIRECTORY: &str = "conf/deploy/compose";

fn compose() -> Value {
    documents(&format!("{DIRECTORY}/compose.yaml")).remove(0)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value:?}"))
}

fn keys(value: &Value) -> Vec<&str> {
    let entries = value.as_mapping().map(|it| it.keys().map(text).collect());
    entries.unwrap_or_else(|| value.as_sequence().unwrap().iter().map(text).collect())
}

#[test]
fn services_refer_to_what_is_there() {
    let compose = compose();
    let services = compose["services"].as_mapping().unwrap();
    for (name, service) in services {
        let name = text(name);
        assert!(service["image"].is_string(), "{name} has no image");
        for network in keys(&service["networks"]) {
            assert!(compose["networks"].get(network).is_some(), "{name}: {network}");
        }
        if let Some(needed) = service.get("depends_on") {
            for (other, how) in needed.as_mapping().unwrap() {
                let other = services.get(other).unwrap_or_else(|| panic!("{name} needs {other:?}"));
                let healthy = text(&how["condition"]) == "service_healthy";
                assert!(!healthy || other.get("healthcheck").is_some(), "{name}");
            }
        }
        for volume in service.get("volumes").and_then(Value::as_sequence).into_iter().flatten() {
            let from = text(volume).split(':').next().unwrap();
            if let Some(file) = from.strip_prefix("./") {
                // Keys are made by whoever starts it.
                let made = file.starts_with("secrets/");
                assert!(made || top().join(DIRECTORY).join(file).exists(), "{name}: {file}");
            } else {
                assert!(compose["volumes"].get(from).is_some(), "{name}: {from}");
            }
        }
        for port in service.get("ports").and_then(Value::as_sequence).into_iter().flatten() {
            assert!(text(port).starts_with("127.0.0.1:"), "{name} is published on {port:?}");
        }
    }
    assert!(compose["services"]["core"].get("ports").is_none(), "Core is reached around us");
    let build = &compose["services"]["portcullis"]["build"];
    let context = top().join(DIRECTORY).join(text(&build["context"]));
    assert_eq!(context.canonicalize().unwrap(), top().canonicalize().unwrap());
    assert!(context.join(text(&build["dockerfile"])).exists());
}

#[test]
fn every_variable_is_in_the_example_and_the_other_way_round() {
    let text = read(&format!("{DIRECTORY}/compose.yaml"));
    let mut used: Vec<&str> = text
        .split("${")
        .skip(1)
        .map(|rest| rest.split([':', '}']).next().unwrap())
        .filter(|it| it.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
        .collect();
    used.sort_unstable();
    used.dedup();
    let example = read(&format!("{DIRECTORY}/env.example"));
    let mut given: Vec<&str> = example.lines().filter_map(|line| line.strip_suffix('=')).collect();
    given.sort_unstable();
    assert_eq!(used.into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>(), given);
}

#[test]
fn the_gateway_finds_its_neighbours_and_its_secrets() {
    let (compose, gateway) = (compose(), configurations::configuration("compose"));
    let service = &compose["services"]["portcullis"];
    for variable in configurations::secrets(&gateway, "env") {
        assert!(service["environment"].get(variable.as_str()).is_some(), "{variable}");
    }
    let mounted: Vec<_> = service["volumes"].as_sequence().unwrap().iter().map(text).collect();
    for file in configurations::secrets(&gateway, "file") {
        let ends = format!(":{file}:ro");
        assert!(mounted.iter().any(|it| it.ends_with(&ends)), "{file} is not mounted");
    }
    let server = text(&gateway["upstreams"]["core"]["servers"][0]);
    assert!(compose["services"].get(server.split(':').next().unwrap()).is_some(), "{server}");
    let port = text(&gateway["listeners"][0]["address"]).rsplit(':').next().unwrap();
    let public = text(&gateway["public_url"]);
    assert!(public.ends_with(&format!(":{port}")));
    assert_eq!(text(&service["ports"][0]), format!("127.0.0.1:{port}:{port}"));
    let core = &compose["services"]["core"]["environment"];
    let sts = |key: &str| text(&core[format!("ONE_app__auth__stsTokenValidation__{key}")]);
    assert_eq!(sts("iss"), text(&gateway["sts"]["issuer"]["iss"]));
    assert_eq!(sts("aud"), text(&gateway["upstreams"]["core"]["auth"]["audience"]));
    assert_eq!(sts("jwksUri"), format!("http://portcullis:{port}/.well-known/jwks.json"));
    assert!(keys(&gateway["hosts"]).contains(&"portcullis"));
    let issuer = text(&gateway["iam"]["issuer"]);
    let keycloak = &compose["services"]["keycloak"];
    let provider = text(&keycloak["environment"]["KC_HOSTNAME"]);
    assert_eq!(issuer, format!("{provider}/realms/one"));
    assert!(keys(&keycloak["networks"]["front"]["aliases"]).contains(&"keycloak.localhost"));
}

#[test]
fn the_realm_is_the_one_that_the_gateway_asks_for() {
    let gateway = configurations::configuration("compose");
    let realm: Json =
        serde_json::from_str(&read(&format!("{DIRECTORY}/keycloak-realm.json"))).unwrap();
    let iam = &gateway["iam"];
    let issuer = text(&iam["issuer"]);
    assert!(issuer.ends_with(&format!("/realms/{}", realm["realm"].as_str().unwrap())));
    let client = &realm["clients"][0];
    assert_eq!(client["clientId"].as_str().unwrap(), text(&iam["client"]["id"]));
    let variable = text(&iam["client"]["secret"]["env"]);
    assert_eq!(client["secret"].as_str().unwrap(), format!("${{{variable}}}"));
    let public = text(&gateway["public_url"]);
    assert_eq!(client["redirectUris"][0], format!("{public}/.portcullis/callback"));
    assert_eq!(client["attributes"]["post.logout.redirect.uris"], format!("{public}/"));
    let logout = client["attributes"]["backchannel.logout.url"].as_str().unwrap();
    assert!(logout.ends_with(":8080/.portcullis/backchannel-logout"), "{logout}");
    let audience = &client["protocolMappers"][0]["config"]["included.custom.audience"];
    assert_eq!(audience.as_str().unwrap(), text(&iam["audience"]));
    let roles: Vec<_> = realm["roles"]["realm"].as_array().unwrap().iter().collect();
    for role in keys(&gateway["iam_roles"]) {
        assert!(roles.iter().any(|it| it["name"] == role), "{role} is no role of the realm");
        assert!(realm["users"][0]["realmRoles"].as_array().unwrap().iter().any(|it| it == role));
    }
}
