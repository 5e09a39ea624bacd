//! The files of docker/, held against the tools they are for and against the program: names of settings, metrics, queues, libraries.
//! No image is built and no container started here.

use crate::support::server::{Config, Server};
use crate::support::tools;
use millrace::config::{self, VARIABLES};
use millrace::worker::PoolSpec;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn docker(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docker").join(file)
}

fn text(file: &str) -> String {
    std::fs::read_to_string(docker(file)).unwrap()
}

/// A program that scripts/setup.d/shipping has put in place.
fn tool(name: &str) -> Command {
    Command::new(tools::folder("shipping").join("bin").join(name))
}

/// What a program says when it succeeds.
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{command:?}:\n{text}");
    text
}

/// The documents of a YAML file, with merges and anchors resolved.
fn yaml(file: &str) -> Vec<Value> {
    let read = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    serde_json::from_str(&said(tool("python").args(["-c", read]).arg(docker(file)))).unwrap()
}

/// Words of this beginning in a text, as metrics and variables are written.
fn words<'a>(text: &'a str, beginning: &'a str) -> impl Iterator<Item = String> + 'a {
    text.match_indices(beginning).map(move |(at, _)| text[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect())
}

/// Each MILLRACE_ variable is a key of the configuration or one of the command line's.
fn assert_variables(text: &str) {
    let known: BTreeSet<String> = VARIABLES.iter().map(|(name, _)| format!("MILLRACE_{name}")).chain(["MILLRACE_LOG_JSON".into()]).collect();
    let used: BTreeSet<String> = words(text, "MILLRACE_").collect();
    assert!(!used.is_empty());
    assert!(used.is_subset(&known), "{:?}", used.difference(&known));
}

/// The program takes these arguments under these variables: it would start, but for its store.
fn assert_starts(arguments: &Value, variables: &BTreeMap<String, String>) {
    let arguments: Vec<&str> = arguments.as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
    assert!(["serve", "work"].contains(&arguments[0]), "{arguments:?}");
    said(Command::new(env!("CARGO_BIN_EXE_millrace")).args(&arguments).arg("--help"));
    let config = config::Config::load(None, variables).unwrap();
    config.check_shared().unwrap();
    config.check_redirect().unwrap();
    let names = config.queues().unwrap();
    for (option, value) in arguments.iter().zip(&arguments[1..]).filter(|(option, _)| **option == "--queues") {
        let specs: Vec<PoolSpec> = value.split(',').map(|spec| spec.parse().unwrap()).collect();
        assert!(specs.iter().all(|spec| names.get(&spec.queue).is_some()), "{option} {value}");
    }
}

#[test]
fn the_compose_file_is_one_and_what_it_names_is_there() {
    said(tool("check-jsonschema").args(["--builtin-schema", "vendor.compose-spec"]).arg(docker("compose.yaml")));
    assert_variables(&text("compose.yaml"));
    let compose = yaml("compose.yaml").remove(0);
    let services = compose["services"].as_object().unwrap();
    let ours: Vec<_> = services.iter().filter(|(_, service)| service["image"] == "millrace:latest").collect();
    assert_eq!(ours.len(), 3, "the service and two workers");
    let mut worked_on = BTreeSet::new();
    for (name, service) in ours {
        let variables: BTreeMap<String, String> =
            service["environment"].as_object().unwrap().iter().map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned())).collect();
        assert_starts(&service["command"], &variables);
        worked_on.extend(
            service["command"].as_array().unwrap().last().unwrap().as_str().unwrap().split(',').map(|q| q.split(':').next().unwrap().to_owned()),
        );
        assert!(service["read_only"] == true && service["cap_drop"][0] == "ALL", "{name}");
    }
    let shipped = config::Config::default().queues().unwrap();
    assert_eq!(worked_on.iter().map(String::as_str).collect::<Vec<_>>(), shipped.names().collect::<Vec<_>>(), "every queue has somebody");
    for (name, service) in services {
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let from = volume.as_str().unwrap().split(':').next().unwrap();
            let there = if from.starts_with('.') { docker(from).exists() } else { compose["volumes"].get(from).is_some() };
            assert!(there, "{name}: {from}");
        }
    }
    let needed: BTreeSet<String> = text("compose.yaml")
        .split("${")
        .skip(1)
        .map(|rest| rest.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_' || c.is_ascii_digit()).collect())
        .collect();
    let example = text("example.env");
    let given: BTreeSet<String> =
        example.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.split_once('=')).map(|(k, _)| k.to_owned()).collect();
    assert_eq!(needed, given);
    assert!(compose["services"]["redis"]["command"].to_string().contains("noeviction"));
}

#[test]
fn the_image_has_the_libraries_of_the_program() {
    said(tool("hadolint").arg(docker("Dockerfile")));
    assert_variables(&text("Dockerfile"));
    let dockerfile = text("Dockerfile");
    let runtime = dockerfile.split("FROM debian:12-slim").nth(1).unwrap();
    let packages: BTreeSet<&str> = runtime.split_whitespace().collect();
    // In every Debian image.
    let base = ["libc6", "libgcc-s1"];
    let linked = said(Command::new("ldd").arg(env!("CARGO_BIN_EXE_millrace")));
    let needed = said(Command::new("readelf").args(["-d", env!("CARGO_BIN_EXE_millrace")]));
    let libraries: Vec<&str> = needed.lines().filter(|l| l.contains("(NEEDED)")).filter_map(|l| l.split(['[', ']']).nth(1)).collect();
    // These are loaded when they are needed: being linked to them would slow every start. A function that is used and missing
    // from the list next to `lazy::functions!` brings its library back: `nm -D --undefined-only` names it.
    let lazy = |library: &&&str| ["libav", "libsw", "libheif", "libjxl"].iter().any(|name| library.starts_with(name));
    assert!(libraries.contains(&"libc.so.6") && libraries.iter().find(lazy).is_none(), "{libraries:?}");
    assert!(packages.contains("libheif1") && packages.contains("libjxl0.7"));
    for (library, version) in [
        ("libavcodec", ffmpeg_next::ffi::LIBAVCODEC_VERSION_MAJOR),
        ("libavfilter", ffmpeg_next::ffi::LIBAVFILTER_VERSION_MAJOR),
        ("libavformat", ffmpeg_next::ffi::LIBAVFORMAT_VERSION_MAJOR),
        ("libavutil", ffmpeg_next::ffi::LIBAVUTIL_VERSION_MAJOR),
    ] {
        assert!(packages.contains(format!("{library}{version}").as_str()), "{library}{version}");
    }
    for library in libraries.into_iter().filter(|l| !l.starts_with("ld-linux")) {
        let path = linked.lines().find_map(|l| l.trim().strip_prefix(library)?.trim().strip_prefix("=> ")?.split(' ').next()).unwrap();
        let path = std::fs::canonicalize(path).unwrap();
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let owner = said(Command::new("dpkg").args(["-S", &format!("*/{file}")]));
        let owner = owner.split(':').next().unwrap();
        assert!(packages.contains(owner) || base.contains(&owner), "{library} is in {owner}");
    }
    let setup = std::fs::read_to_string(docker("../scripts/packages")).unwrap();
    let set_up: BTreeSet<&str> = setup.lines().collect();
    let fonts_and_office: Vec<_> = set_up.iter().filter(|p| p.starts_with("fonts-") || p.starts_with("libreoffice-")).collect();
    assert!(fonts_and_office.len() > 8);
    for package in fonts_and_office {
        assert!(packages.contains(package), "{package}");
    }
}

#[test]
fn the_unit_is_valid_and_leaves_the_jail_its_calls() {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("millrace.service");
    std::fs::write(&unit, text("millrace.service").replace("/usr/local/bin/millrace", env!("CARGO_BIN_EXE_millrace"))).unwrap();
    let said_of = said(Command::new("systemd-analyze").arg("verify").arg(&unit));
    assert_eq!(said_of.trim(), "");
    assert_variables(&text("millrace.service"));
    // 0 is a fortress, 10 is open; the jail needs its namespaces.
    let score = said(Command::new("systemd-analyze").args(["security", "--offline=true", "--threshold=30"]).arg(&unit));
    assert!(score.contains("exposure level"), "{score}");
    let groups = said(Command::new("systemd-analyze").args(["syscall-filter", "--no-pager"]));
    let group = |name: &str| -> BTreeSet<String> {
        let lines = groups.lines().skip_while(|l| *l != name).skip(1).take_while(|l| l.starts_with(' ') || l.is_empty());
        lines.map(|l| l.trim().to_owned()).filter(|l| !l.is_empty() && !l.starts_with('#')).collect()
    };
    let text = text("millrace.service");
    let filter = text.lines().find_map(|l| l.strip_prefix("SystemCallFilter=")).unwrap();
    let mut allowed: BTreeSet<String> = filter.split(' ').map(str::to_owned).collect();
    while let Some(name) = allowed.iter().find(|n| n.starts_with('@')).cloned() {
        allowed.remove(&name);
        allowed.extend(group(&name));
    }
    assert!(allowed.len() > 200, "{}", allowed.len());
    for call in [
        "unshare",
        "setns",
        "mount",
        "clone",
        "clone3",
        "prctl",
        "seccomp",
        "landlock_create_ruleset",
        "landlock_add_rule",
        "landlock_restrict_self",
        "pidfd_open",
        "pidfd_send_signal",
        "waitid",
        "capset",
        "setrlimit",
        "prlimit64",
        "setsid",
        "close_range",
        "socketpair",
        "memfd_create",
        "sched_setscheduler",
    ] {
        assert!(allowed.contains(call), "{call}");
    }
    for key in ["Delegate=yes", "RestrictNamespaces=user net mnt pid ipc uts", "NoNewPrivileges=yes", "Type=notify"] {
        assert!(text.lines().any(|l| l == key), "{key}");
    }
    for key in ["PrivateUsers", "ProtectProc", "ProcSubset", "ProtectControlGroups"] {
        assert!(!text.lines().any(|l| l.starts_with(&format!("{key}="))), "{key}");
    }
}

#[test]
fn the_example_configuration_is_whole_and_valid() {
    let done = said(Command::new(env!("CARGO_BIN_EXE_millrace")).args(["config", "check", "--config"]).arg(docker("millrace.toml")));
    assert!(done.starts_with("ok: "), "{done}");
    let example = text("millrace.toml");
    for (_, path) in VARIABLES {
        let key = path.last().unwrap();
        assert!(example.lines().any(|l| l.trim_start_matches("# ").starts_with(&format!("{key} = "))), "{key}");
        if let [section, _] = path {
            assert!(example.contains(&format!("[{section}]")), "{section}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_and_dashboards_ask_for_metrics_that_there_are() {
    said(tool("promtool").args(["check", "config", "--syntax-only"]).arg(docker("prometheus.yml")));
    said(tool("promtool").args(["check", "rules"]).arg(docker("alerts.yml")));
    let server = Server::start(Config::default()).await;
    // A request, so that there is one to count.
    server.json("/v1/queues").await;
    let metrics = server.get("/metrics").await.text().await.unwrap();
    let there: BTreeSet<String> = metrics.lines().filter(|l| !l.starts_with('#')).flat_map(|l| words(l, "millrace_").take(1)).collect();
    server.stop();
    let dashboard: Value = serde_json::from_str(&text("grafana/dashboards/millrace.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let asked = panels.iter().flat_map(|p| p["targets"].as_array().unwrap()).map(|t| t["expr"].as_str().unwrap().to_owned());
    let asked: Vec<String> =
        asked.chain([dashboard["templating"]["list"][0]["query"]["query"].as_str().unwrap().to_owned(), text("alerts.yml")]).collect();
    assert!(asked.len() > 10);
    for expression in &asked {
        for metric in words(expression, "millrace_") {
            assert!(there.contains(&metric), "{metric} of `{expression}` is none of {there:?}");
        }
    }
    // Each expression is PromQL: as the rule it could be, the dashboard's variable filled in.
    let rules: Vec<Value> = asked[..panels.len()]
        .iter()
        .enumerate()
        .map(|(n, e)| serde_json::json!({"record": format!("a:b{n}"), "expr": e.replace("$queue", ".*")}))
        .collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), serde_json::json!({"groups": [{"name": "g", "rules": rules}]}).to_string()).unwrap();
    said(tool("promtool").args(["check", "rules"]).arg(file.path()));
    let source = &yaml("grafana/provisioning/datasources/prometheus.yaml")[0]["datasources"][0];
    assert!(panels.iter().all(|p| p["datasource"]["uid"] == source["uid"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_s_manifests_are_valid_and_ask_for_what_the_service_answers() {
    let said_of = said(tool("kubernetes-validate").arg("--strict").arg(docker("kubernetes.yaml")));
    assert_eq!(said_of.matches(" passed for resource").count(), 7, "{said_of}");
    let documents = yaml("kubernetes.yaml");
    let of_kind = |kind: &str| documents.iter().filter(|d| d["kind"] == kind).collect::<Vec<_>>();
    assert_variables(&text("kubernetes.yaml"));
    let entries = [&of_kind("Secret")[0]["stringData"], &of_kind("ConfigMap")[0]["data"]];
    let variables: BTreeMap<String, String> =
        entries.iter().flat_map(|e| e.as_object().unwrap()).map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned())).collect();
    let server = Server::start(Config::default()).await;
    for deployment in of_kind("Deployment") {
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        assert_starts(&container["args"], &variables);
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            if let Some(path) = container[probe]["httpGet"]["path"].as_str() {
                assert_eq!(server.get(path).await.status(), 200, "{path}");
            }
        }
    }
    // These kinds are KEDA's, whose schemas are not at hand: what they ask of the service is asked here.
    let scaled = of_kind("ScaledObject")[0];
    assert!(of_kind("Deployment").iter().any(|d| d["metadata"]["name"] == scaled["spec"]["scaleTargetRef"]["name"]));
    for trigger in scaled["spec"]["triggers"].as_array().unwrap() {
        let metadata = &trigger["metadata"];
        let path = metadata["url"].as_str().unwrap().strip_prefix("http://millrace.millrace.svc").unwrap();
        let answer = server.json(path).await;
        let pointer = format!("/{}", metadata["valueLocation"].as_str().unwrap().replace('.', "/"));
        assert!(answer.pointer(&pointer).is_some_and(Value::is_u64), "{pointer} of {answer}");
        assert_eq!(trigger["authenticationRef"]["name"], of_kind("TriggerAuthentication")[0]["metadata"]["name"]);
    }
    server.stop();
}
