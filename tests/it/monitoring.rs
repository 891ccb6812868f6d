//! The monitoring kit: promtool and amtool accept it, a real Prometheus finds in a real service all that rules and dashboards ask for, a real
//! Alertmanager tells whom it should, and the files around it hold together.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::servers::{self, Alertmanager, Daemon, Postgres, Prometheus, Redis, amtool, promtool};
use crate::support::larder;

const PATIENCE: Duration = Duration::from_secs(90);

fn kit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/monitoring")
}

#[track_caller]
fn content(arguments: &[&str]) {
    let (text, is_content) = promtool(arguments);
    assert!(is_content, "promtool {}:\n{text}", arguments.join(" "));
}

#[test]
fn promtool_accepts_configuration_and_rules_and_each_alert_fires_when_it_should() {
    let folder = kit().join("prometheus");
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    content(&["check", "config", &file("prometheus.yml")]);
    content(&["check", "rules", &file("larder.rules.yml")]);
    content(&["test", "rules", &file("larder.rules.test.yml")]);
}

/// The tests of the rules must be able to fail.
#[test]
fn rules_that_fire_otherwise_are_found() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["larder.rules.yml", "larder.rules.test.yml"] {
        fs::copy(kit().join("prometheus").join(name), folder.path().join(name)).unwrap();
    }
    let rules = folder.path().join("larder.rules.yml");
    let tests = folder.path().join("larder.rules.test.yml");
    let text = fs::read_to_string(&rules).unwrap();
    for (is, becomes) in [
        ("backend=\"database\", state=~\"open|half_open\"", "backend=\"database\", state=\"open\""),
        ("for: 5m", "for: 1m"),
        ("increase(larder_pool_timeouts_total[5m])", "larder_pool_timeouts_total"),
        ("> 0.5", "> 0.95"),
        // Two backends that are each well enough are not together in trouble.
        ("sum by (job, instance, backend) (increase", "sum by (job, instance) (increase"),
        ("sum by (job, instance, backend, state)", "sum by (job, instance, state)"),
    ] {
        assert!(text.contains(is), "{is}");
        fs::write(&rules, text.replace(is, becomes)).unwrap();
        let (told, is_content) = promtool(&["test", "rules", tests.to_str().unwrap()]);
        assert!(!is_content && told.contains("FAILED"), "{is}: {told}");
    }
}

#[test]
fn nothing_that_differs_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("a/monitoring");
    let out = out.to_str().unwrap();
    let (told, _, code) = larder(&["monitoring", "--out", out, "--scrape-target", "localhost:9100"]);
    assert_eq!((told.lines().count(), code), (10, 0), "{told}");
    for line in told.lines().filter_map(|line| line.strip_prefix("wrote ")) {
        assert!(Path::new(line).is_file(), "{line}");
    }
    // What is there already is as it would be.
    let (_, _, code) = larder(&["monitoring", "--out", out, "--scrape-target", "localhost:9100"]);
    assert_eq!(code, 0);
    let mine = Path::new(out).join("alertmanager/alertmanager.yml");
    fs::write(&mine, "route: {receiver: me}").unwrap();
    let (told, error, code) = larder(&["monitoring", "--out", out, "--scrape-target", "localhost:9200"]);
    assert_eq!((told.as_str(), code), ("", 1));
    assert!(error.contains("prometheus/prometheus.yml, alertmanager/alertmanager.yml, in the folder"), "{error}");
    assert_eq!(fs::read_to_string(&mine).unwrap(), "route: {receiver: me}");
    let prometheus = fs::read_to_string(Path::new(out).join("prometheus/prometheus.yml")).unwrap();
    assert!(prometheus.contains("localhost:9100"), "half was written: {prometheus}");
    let (_, _, code) = larder(&["monitoring", "--out", out, "--scrape-target", "localhost:9200", "--force"]);
    assert!(code == 0 && fs::read_to_string(&mine).unwrap().contains("receivers:"));
}

#[test]
fn a_folder_that_cannot_be_written_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for force in [&["--force"][..], &[]] {
        let (told, error, code) = larder(&[&["monitoring", "--out", file.to_str().unwrap()], force].concat());
        assert_eq!((told.as_str(), code), ("", 1), "{error}");
        assert!(error.contains("file/prometheus/prometheus.yml: Not a directory"), "{error}");
    }
    let (_, error, code) = larder(&["monitoring", "--scrape-target", "nowhere"]);
    assert!(code == 2 && error.contains("is no host:port"), "{error}");
    let (help, _, code) = larder(&["monitoring", "--help"]);
    assert!(code == 0 && help.contains("Examples:") && help.contains("--scrape-name"), "{help}");
}

/// The service that the kit watches.
fn service(database: &str, redis: &str) -> Daemon {
    let folder = Path::new(env!("CARGO_BIN_EXE_larder")).parent().unwrap();
    let program = folder.join("examples/monitored");
    assert!(program.is_file(), "the example `monitored` was not built: cargo build --all-features --examples");
    let mut service = Daemon::new("larder-monitored-", None, None);
    let command = |service: &Daemon| {
        let mut command = servers::command(&program, None);
        command.env("DATABASE_URL", database).env("REDIS_URL", redis);
        command.arg("--listen").arg(format!("127.0.0.1:{}", service.port));
        command
    };
    service.launch_first(command, |service| std::net::TcpStream::connect(("127.0.0.1", service.port)).is_ok());
    service
}

async fn ask(url: &str, query: &[(&str, &str)]) -> Value {
    let answer = reqwest::Client::new().get(url).query(query).send().await.unwrap();
    answer.json().await.unwrap()
}

/// Series of the answer to an expression.
async fn results(prometheus: &Prometheus, expression: &str) -> Vec<Value> {
    let answer = ask(&prometheus.url("query"), &[("query", expression)]).await;
    assert_eq!(answer["status"], "success", "{expression}: {answer:#}");
    answer["data"]["result"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_real_prometheus_finds_all_that_rules_and_dashboards_ask_for() {
    let (mut postgres, mut redis) = (Postgres::start(), Redis::start());
    let service = service(&postgres.fresh(), &redis.url());
    let folder = tempfile::tempdir().unwrap();
    let (_, error, code) = larder(&[
        "monitoring",
        "--out",
        folder.path().to_str().unwrap(),
        "--scrape-target",
        &format!("127.0.0.1:{}", service.port),
    ]);
    assert_eq!(code, 0, "{error}");
    let configuration = folder.path().join("prometheus/prometheus.yml");
    let text = fs::read_to_string(&configuration).unwrap();
    assert!(text.contains("15s"));
    fs::write(&configuration, text.replace("15s", "1s")).unwrap();
    let prometheus = Prometheus::start(&configuration);

    let begun = Instant::now();
    let hit =
        "larder_requests_total{outcome=\"hit\"} > 0 and on (instance) count_over_time(up{job=\"larder\"}[5m]) > 6";
    while results(&prometheus, hit).await.is_empty() {
        assert!(begun.elapsed() < PATIENCE, "no hit was seen; the service's log:\n{}", service.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    let mut asked = 0;
    for name in ["overview", "operations", "engineering"] {
        let dashboard = fs::read(kit().join(format!("grafana/dashboards/{name}.json"))).unwrap();
        let dashboard: Value = serde_json::from_slice(&dashboard).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            // Those that say what is shown if there is nothing, and the alerts, of which none fires.
            let may_be_empty = panel["fieldConfig"]["defaults"]["noValue"].is_string() || panel["type"] == "table";
            for target in panel["targets"].as_array().into_iter().flatten() {
                let expression = target["expr"].as_str().unwrap();
                let filled = [("$job", ".+"), ("$instance", ".+"), ("$__rate_interval", "1m"), ("$__range", "5m")]
                    .iter()
                    .fold(expression.to_owned(), |text, (variable, value)| text.replace(variable, value));
                let found = results(&prometheus, &filled).await;
                assert!(may_be_empty || !found.is_empty(), "{name}, {}: nothing for {filled}", panel["title"]);
                asked += 1;
            }
        }
    }
    assert!(asked > 50, "{asked}");

    // Every series that the crate promises at zero is there, by the names of the kit.
    let all = ask(&prometheus.url("label/__name__/values"), &[]).await;
    let names: BTreeSet<&str> = all["data"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for metric in larder::metrics() {
        assert!(names.contains(&*metric.name().replace('.', "_")), "{} is not there: {names:?}", metric.name());
    }

    let rules = rules(&prometheus).await;
    assert!(rules.len() > 15, "{rules:#?}");
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule:#}");
        assert_ne!(rule["state"], "firing", "of a service that is well: {rule:#}");
    }

    redis.kill();
    until_noticed(&prometheus, "LarderRedisUnreachable").await;
    until_noticed(&prometheus, "LarderFeedBehind").await;
    postgres.kill();
    until_noticed(&prometheus, "LarderBreakerOpen").await;
    // It goes on with what it keeps: nobody is to take it away.
    let health = reqwest::get(format!("http://127.0.0.1:{}/health", service.port)).await.unwrap();
    assert_eq!(health.status(), reqwest::StatusCode::NO_CONTENT);
}

async fn rules(prometheus: &Prometheus) -> Vec<Value> {
    let answer = ask(&prometheus.url("rules"), &[]).await;
    let groups = answer["data"]["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

/// Until what the alert is about is so; that it lasts is promtool's to test.
async fn until_noticed(prometheus: &Prometheus, alert: &str) {
    let begun = Instant::now();
    loop {
        let rules = rules(prometheus).await;
        let rule = rules.iter().find(|rule| rule["name"] == alert).unwrap();
        if rule["state"] != "inactive" {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{rule:#}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The routes of the kit, with receivers at `url`: Debian's Alertmanager is older than addresses in files.
fn routes(folder: &Path, url: &str) -> PathBuf {
    let kit = fs::read_to_string(kit().join("alertmanager/alertmanager.yml")).unwrap();
    let routes = kit.replace("url_file: /etc/alertmanager/receivers", &format!("url: {url}"));
    assert_eq!(routes.matches(url).count(), 2, "{routes}");
    let path = folder.join("alertmanager.yml");
    fs::write(&path, routes).unwrap();
    path
}

#[test]
fn each_alert_reaches_whom_its_severity_says() {
    let folder = tempfile::tempdir().unwrap();
    let routes = routes(folder.path(), "http://127.0.0.1:9");
    let routes = routes.to_str().unwrap();
    let (told, is_content) = amtool(&["check-config", routes]);
    assert!(is_content, "{told}");
    let rules = &documents(&kit().join("prometheus/larder.rules.yml"))[0];
    let mut reached = BTreeSet::new();
    for rule in rules["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()) {
        let (Some(alert), Some(severity)) = (rule["alert"].as_str(), rule["labels"]["severity"].as_str()) else {
            continue;
        };
        let labels = [format!("alertname={alert}"), format!("severity={severity}")];
        let arguments = ["config", "routes", "test", "--config.file", routes, "--verify.receivers", severity];
        let (told, is_content) = amtool(&[&arguments[..], &[&labels[0], &labels[1]]].concat());
        assert!(is_content, "{alert}: {told}");
        reached.insert(severity);
    }
    assert_eq!(reached, ["page", "ticket"].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_alertmanager_tells_the_cause_and_not_what_follows_from_it() {
    // What was told, and to whom.
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel::<(String, Value)>();
    let receive = async move |axum::extract::Path(receiver): axum::extract::Path<String>,
                              message: axum::Json<Value>| {
        tell.send((receiver, message.0)).unwrap();
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let receivers = axum::Router::new().route("/{receiver}", axum::routing::post(receive));
    tokio::spawn(async move { axum::serve(listener, receivers).await });

    let folder = tempfile::tempdir().unwrap();
    let routes = routes(folder.path(), &url);
    let text = fs::read_to_string(&routes).unwrap();
    assert!(text.contains("group_wait: 30s") && text.contains("group_wait: 10s"));
    fs::write(&routes, text.replace("group_wait: 30s", "group_wait: 3s").replace("group_wait: 10s", "group_wait: 1s"))
        .unwrap();
    let alertmanager = tokio::task::block_in_place(|| Alertmanager::start(&routes));

    let alert = |name: &str, severity: &str, job: &str, instance: &str| serde_json::json!({ "labels": { "alertname": name, "severity": severity, "job": job, "instance": instance } });
    let alerts = [
        alert("LarderBreakerOpen", "page", "shop", "a"),
        alert("LarderBreakerOpen", "page", "shop", "b"),
        // Follows from it; that of another service does not.
        alert("LarderCallsRejected", "ticket", "shop", "a"),
        alert("LarderCallsRejected", "ticket", "bank", "a"),
        // Follows from what only one of two nodes has.
        alert("LarderFeedBehind", "ticket", "bank", "a"),
        alert("LarderCacheOff", "ticket", "bank", "a"),
        alert("LarderCacheOff", "ticket", "bank", "b"),
    ];
    let answer = reqwest::Client::new().post(alertmanager.url("alerts")).json(&alerts).send().await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");

    let wanted: BTreeSet<_> = [
        "page LarderBreakerOpen shop a b",
        "ticket LarderCallsRejected bank a",
        "ticket LarderFeedBehind bank a",
        "ticket LarderCacheOff bank b",
    ]
    .map(str::to_owned)
    .into();
    let mut seen = BTreeSet::new();
    while seen.len() < wanted.len() {
        let (receiver, message) = tokio::time::timeout(PATIENCE, told.recv()).await.expect("a message").unwrap();
        let group = &message["groupLabels"];
        let mut nodes: Vec<&str> = message["alerts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|alert| alert["labels"]["instance"].as_str().unwrap())
            .collect();
        nodes.sort_unstable();
        let [name, job] = ["alertname", "job"].map(|label| group[label].as_str().unwrap());
        seen.insert(format!("{receiver} {name} {job} {}", nodes.join(" ")));
    }
    assert_eq!(seen, wanted);
    // All waited equally long, so that what was held back has had its time.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(told.try_recv().is_err(), "more than the causes");
}

/// The documents of a file of YAML.
fn documents(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every string in it.
fn strings(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(values) => values.iter().flat_map(strings).collect(),
        Value::Object(values) => values.values().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}

fn example_keys() -> BTreeSet<String> {
    let text = fs::read_to_string(kit().join("env.example")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once('=').unwrap().0.to_owned()).collect()
}

#[test]
fn every_service_of_the_compose_file_is_pinned_looked_after_and_has_its_files() {
    let compose = &documents(&kit().join("docker-compose.yml"))[0];
    let services = compose["services"].as_object().unwrap();
    for wanted in ["app", "postgres", "redis", "prometheus", "alertmanager", "grafana"] {
        let service = &services[wanted];
        assert!(service["healthcheck"]["test"].is_array(), "{wanted}");
        if wanted != "app" {
            assert_pinned(service["image"].as_str().unwrap());
        }
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let from = volume.as_str().unwrap().split(':').next().unwrap();
            let is_there =
                if from.starts_with('.') { kit().join(from).exists() } else { compose["volumes"].get(from).is_some() };
            assert!(is_there, "{wanted}: {from}");
        }
        for port in service["ports"].as_array().into_iter().flatten() {
            assert!(port.as_str().unwrap().starts_with("127.0.0.1:"), "{wanted}: {port}");
        }
        for config in service["configs"].as_array().into_iter().flatten() {
            assert!(compose["configs"][config["source"].as_str().unwrap()].is_object(), "{wanted}: {config}");
        }
    }
    let build = &services["app"]["build"];
    let root = kit().join(build["context"].as_str().unwrap());
    assert!(root.join(build["dockerfile"].as_str().unwrap()).is_file() && root.join("Cargo.toml").is_file());

    let keys = example_keys();
    for text in strings(compose) {
        for (_, rest) in text.match_indices("${").map(|(at, _)| text.split_at(at + 2)) {
            let key = rest.split([':', '}']).next().unwrap();
            assert!(keys.contains(key), "{key} is not in env.example");
        }
        let is_key = |key: &String| key.contains("PASSWORD") && text.contains(&**key);
        assert!(!text.contains("password") || keys.iter().any(is_key), "{text}");
    }
}

#[track_caller]
fn assert_pinned(image: &str) {
    let tag = image.rsplit_once(':').map_or("", |(_, tag)| tag);
    assert!(tag.trim_start_matches('v').matches('.').count() >= 1 && tag != "latest", "{image}");
}

#[test]
fn every_workload_on_kubernetes_is_pinned_probed_limited_and_has_what_it_mounts() {
    let kustomization = &documents(&kit().join("kustomization.yaml"))[0];
    let mut names = BTreeSet::new();
    let mut objects = Vec::new();
    let listed: BTreeSet<&str> = strings(&kustomization["resources"]).into_iter().collect();
    for file in fs::read_dir(kit().join("kubernetes")).unwrap() {
        let file = file.unwrap().file_name().into_string().unwrap();
        assert!(listed.contains(&*format!("kubernetes/{file}")), "{file} is not in kustomization.yaml");
    }
    for path in listed {
        objects.extend(documents(&kit().join(path)));
    }
    for map in kustomization["configMapGenerator"].as_array().unwrap() {
        assert!(names.insert(map["name"].as_str().unwrap()));
        strings(&map["files"]).iter().for_each(|file| assert!(kit().join(file).is_file(), "{file}"));
    }
    names.insert(kustomization["secretGenerator"][0]["name"].as_str().unwrap());
    let keys = example_keys();

    let mut workloads = BTreeSet::new();
    let mut served = BTreeSet::new();
    for object in &objects {
        let name = object["metadata"]["name"].as_str().unwrap();
        let pod = &object["spec"]["template"]["spec"];
        if object["kind"] == "Service" {
            served.insert(name);
        }
        if !pod.is_object() {
            continue;
        }
        workloads.insert(name);
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{name}");
        assert_eq!(
            object["spec"]["selector"]["matchLabels"], object["spec"]["template"]["metadata"]["labels"],
            "{name}"
        );
        let container = &pod["containers"][0];
        let image = container["image"].as_str().unwrap();
        let image_here = |known: &Value| known["name"] == image && known["newTag"].is_string();
        if !kustomization["images"].as_array().unwrap().iter().any(image_here) {
            assert_pinned(image);
        }
        for probe in ["readinessProbe", "livenessProbe"] {
            assert!(container[probe].is_object(), "{name}: {probe}");
        }
        assert!(
            container["resources"]["limits"]["memory"].is_string()
                && container["resources"]["requests"]["cpu"].is_string()
        );
        assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false, "{name}");
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true, "{name}");
        assert_eq!(container["securityContext"]["capabilities"]["drop"][0], "ALL", "{name}");
        for variable in container["env"].as_array().into_iter().flatten() {
            let secret = &variable["valueFrom"]["secretKeyRef"];
            if secret.is_object() {
                assert!(names.contains(secret["name"].as_str().unwrap()), "{variable}");
                assert!(keys.contains(secret["key"].as_str().unwrap()), "{variable}");
            } else {
                assert!(!variable["name"].as_str().unwrap().contains("PASSWORD"), "{variable}");
            }
        }
        let claims = object["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten();
        let mut volumes: BTreeSet<&str> = claims.map(|claim| claim["metadata"]["name"].as_str().unwrap()).collect();
        for volume in pod["volumes"].as_array().into_iter().flatten() {
            volumes.insert(volume["name"].as_str().unwrap());
            let sources = volume["projected"]["sources"].as_array().into_iter().flatten().chain([volume]);
            for map in sources.filter_map(|source| source["configMap"]["name"].as_str()) {
                assert!(names.contains(map), "{name}: {map}");
            }
        }
        for mount in container["volumeMounts"].as_array().into_iter().flatten() {
            assert!(volumes.contains(mount["name"].as_str().unwrap()), "{name}: {mount}");
        }
    }
    let wanted = BTreeSet::from(["app", "postgres", "redis", "prometheus", "alertmanager", "grafana"]);
    assert_eq!((&workloads, &served), (&wanted, &wanted));
}

#[test]
fn alerts_of_each_severity_have_somebody_who_is_told() {
    let routes = &documents(&kit().join("alertmanager/alertmanager.yml"))[0];
    let receivers: BTreeSet<&str> =
        routes["receivers"].as_array().unwrap().iter().map(|receiver| receiver["name"].as_str().unwrap()).collect();
    let rules = &documents(&kit().join("prometheus/larder.rules.yml"))[0];
    let alerts: Vec<&Value> = rules["groups"][1]["rules"].as_array().unwrap().iter().collect();
    let routed: Vec<_> = routes["route"]["routes"].as_array().unwrap().iter().collect();
    for severity in ["page", "ticket"] {
        assert!(alerts.iter().any(|alert| alert["labels"]["severity"] == severity));
        let route = routed.iter().find(|route| route["matchers"][0] == format!("severity = \"{severity}\"")).unwrap();
        assert!(receivers.contains(route["receiver"].as_str().unwrap()));
    }
    let known: BTreeSet<&str> = alerts.iter().map(|alert| alert["alert"].as_str().unwrap()).collect();
    let docs = fs::read_to_string(kit().join("../../docs/monitoring.md")).unwrap();
    for name in &known {
        assert!(docs.contains(&format!("### {name}\n")), "{name}");
    }
    for rule in routes["inhibit_rules"].as_array().unwrap() {
        for text in strings(rule).iter().filter(|text| text.contains('"')) {
            let named = text.split('"').nth(1).unwrap().split('|');
            named.for_each(|name| assert!(known.contains(name), "{name}"));
        }
    }
}
