//! Golden: every object of a small and of a full WsGateway, as YAML.

use std::fmt::Write as _;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::PodSpec;
use serde::Serialize;
use wsgateway_config::yaml;
use wsgateway_crds::{parse, validate};

use super::*;

mod expose;
mod openshift;
mod pods;
mod scaling;

const SAMPLE: &str = include_str!("../../../manifests/samples/odin.yaml");
const REDIS: &str = include_str!("../../../manifests/samples/redis.yaml");
const FULL: &str = include_str!("full.yaml");

/// `optional`: the cluster knows all optional kinds.
fn built(manifest: &str, optional: bool) -> Objects {
    let mut gateway = parse(manifest).unwrap();
    gateway.metadata.uid = Some("11111111-2222-3333-4444-555555555555".into());
    let valid = validate(&gateway).unwrap();
    let kinds: BTreeSet<Kind> = if optional { Kind::OPTIONAL.into() } else { BTreeSet::new() };
    objects(&valid, &surroundings(&valid, &kinds, None)).unwrap()
}

fn surroundings<'a>(
    valid: &ValidGateway,
    kinds: &'a BTreeSet<Kind>,
    network: Option<&'a NetworkRules>,
) -> Surroundings<'a> {
    Surroundings {
        default_image: "registry.example.com/gateway:1",
        kinds,
        network,
        admin_name: admin_name(&valid.name, |_| false),
    }
}

#[test]
fn a_network_policy_lets_clients_in_as_given_and_to_the_admin_port_only_operator_and_monitoring() {
    let policy = |manifest: &str, monitoring: &[(&str, &str)]| {
        let valid = validate(&parse(manifest).unwrap()).unwrap();
        let pairs = monitoring.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let rules = NetworkRules {
            operator_namespace: "wsgateway-system".to_owned(),
            monitoring: pairs.collect(),
        };
        let none = BTreeSet::new();
        let objects = objects(&valid, &surroundings(&valid, &none, Some(&rules))).unwrap();
        objects.network_policy.unwrap()
    };
    let full = policy(FULL, &[("team", "watchers")]);
    insta::assert_snapshot!(yaml::to_string(&full).unwrap());
    let mut rules = policy(SAMPLE, &[]).spec.unwrap().ingress.unwrap();
    let (admin, clients) = (rules.remove(1), rules.remove(0));
    assert_eq!(clients.from, None);
    // An empty list of peers would be everybody.
    assert_eq!(admin.from.unwrap().len(), 1);
}

/// The small sample with more in its `spec`.
fn with(spec: &str) -> Objects {
    built(&format!("{SAMPLE}{spec}"), true)
}

fn pod(objects: &Objects) -> PodSpec {
    objects.deployment.spec.clone().unwrap().template.spec.unwrap()
}

fn text(objects: &Objects) -> String {
    let mut text = String::new();
    let mut add = |object: &dyn erased::Yaml| writeln!(text, "---\n{}", object.yaml()).unwrap();
    add(&objects.service_account);
    add(&objects.config);
    add(&objects.live);
    add(&objects.deployment);
    add(&objects.clients);
    add(&objects.admin);
    add(&objects.disruption);
    objects.autoscaler.iter().for_each(|object| add(object));
    objects.scaled_object.iter().for_each(|object| add(object));
    objects.ingress.iter().for_each(|object| add(object));
    objects.monitor.iter().for_each(|object| add(object));
    objects.route.iter().for_each(|object| add(object));
    text
}

mod erased {
    use super::*;

    pub(super) trait Yaml {
        fn yaml(&self) -> String;
    }

    impl<T: Serialize> Yaml for T {
        fn yaml(&self) -> String {
            yaml::to_string(self).unwrap()
        }
    }
}

#[test]
fn the_sample_becomes_these_objects() {
    insta::assert_snapshot!(text(&built(SAMPLE, false)));
}

#[test]
fn a_wsgateway_with_every_field_becomes_these_objects() {
    insta::assert_snapshot!(text(&built(FULL, true)));
}

#[test]
fn secrets_of_redis_are_files_where_the_configuration_looks_for_them() {
    let manifest =
        REDIS.replace("# username:", "username:").replace("# passwordSecret:", "passwordSecret:");
    let manifest =
        manifest.replace("# caSecret:", "caSecret:").replace("redis://redis", "rediss://redis");
    let objects = built(&manifest, false);
    let config = objects.config.data.unwrap().remove("gateway.yaml").unwrap();
    let pod = objects.deployment.spec.unwrap().template.spec.unwrap();
    let (volumes, mounts) =
        (pod.volumes.unwrap(), pod.containers[0].volume_mounts.clone().unwrap());
    let volume = volumes.iter().find(|volume| volume.name == "redis").unwrap();
    let files = volume.projected.clone().unwrap().sources.unwrap();
    let folder = &mounts.iter().find(|mount| mount.name == "redis").unwrap().mount_path;
    for (file, key) in files.into_iter().zip(["password", "ca.crt"]) {
        let secret = file.secret.unwrap();
        let item = &secret.items.unwrap()[0];
        assert_eq!((secret.name.as_str(), item.key.as_str()), ("redis", key));
        assert!(config.contains(&format!("{folder}/{}", item.path)), "{folder}: {config}");
    }
    let plain = built(REDIS, false).deployment.spec.unwrap().template.spec.unwrap();
    assert_eq!(plain.volumes.unwrap().len(), 1);
}

#[test]
fn objects_are_applied_in_an_order_in_which_each_finds_what_it_names() {
    let desired = built(FULL, true).desired().unwrap();
    let kinds: Vec<Kind> = desired.iter().map(|desired| desired.kind).collect();
    assert!(kinds.is_sorted() && kinds.first() == Some(&Kind::ServiceAccount));
    assert_eq!(kinds.len(), 11);
    for desired in desired {
        assert_eq!(desired.object["kind"], desired.kind.as_str());
        assert_eq!(desired.object["metadata"]["name"], desired.name);
    }
}

#[test]
fn without_autoscaling_there_is_no_autoscaler_and_without_the_kind_no_monitor() {
    let objects = built(SAMPLE, false);
    assert!(objects.autoscaler.is_none() && objects.monitor.is_none());
}

#[test]
fn the_number_of_pods_stays_within_the_autoscalers_bounds_and_zero_stops_them() {
    for (replicas, expected) in [(0, 0), (1, 2), (3, 3), (99, 5)] {
        let manifest = FULL.replace("replicas: 4 #", &format!("replicas: {replicas} #"));
        let spec = built(&manifest, true).deployment.spec.unwrap();
        assert_eq!(spec.replicas, Some(expected), "from {replicas}");
    }
}

#[test]
fn only_what_needs_a_new_process_changes_the_pod_template() {
    let objects = |manifest: &str| built(manifest, true);
    let template = |objects: &Objects| objects.deployment.spec.clone().unwrap().template;
    let before = objects(FULL);
    for (from, to) in [
        ("perSecond: 3", "perSecond: 4"),
        ("grace: 1500ms", "grace: 2s"),
        ("connectionsPerPod: 500", "connectionsPerPod: 501"),
        ("statusPages: false", "statusPages: true"),
        ("replicas: 4 #", "replicas: 5 #"),
    ] {
        assert!(FULL.contains(from), "{from}");
        let after = objects(&FULL.replace(from, to));
        assert_eq!(template(&after), template(&before), "{from}");
        assert_eq!(after.config, before.config, "{from}");
        let same = after.live == before.live && after.live_hash == before.live_hash;
        assert_eq!(same, from.starts_with("replicas"), "{from}");
    }
    for (from, to) in [("port: 8443", "port: 8444"), ("tls://a:4222", "tls://c:4222")] {
        assert!(FULL.contains(from), "{from}");
        let after = objects(&FULL.replace(from, to));
        assert_ne!(template(&after), template(&before), "{from}");
        assert_ne!(after.config.metadata.name, before.config.metadata.name, "{from}");
        assert_eq!((&after.live, &after.live_hash), (&before.live, &before.live_hash), "{from}");
    }
}

#[test]
fn the_files_of_the_configuration_are_mounted_where_the_gateway_is_told_to_look() {
    let objects = built(SAMPLE, false);
    let pod = objects.deployment.spec.unwrap().template.spec.unwrap();
    let volumes = pod.volumes.unwrap();
    let volume = volumes.iter().find(|volume| volume.name == "config").unwrap();
    let sources = volume.projected.as_ref().unwrap().sources.clone().unwrap();
    let told = sources[2].downward_api.as_ref().unwrap().items.as_ref().unwrap()[0].path.clone();
    let maps_of = sources.into_iter().filter_map(|source| source.config_map);
    let mounted: Vec<_> = maps_of.map(|map| map.name).collect();
    let maps = [&objects.config, &objects.live];
    assert_eq!(mounted, maps.map(|map| map.metadata.name.clone().unwrap()));
    let mounts = pod.containers[0].volume_mounts.clone().unwrap();
    let folder = &mounts.iter().find(|mount| mount.name == "config").unwrap().mount_path;
    let keys = maps.map(|map| map.data.as_ref().unwrap().keys().next().unwrap());
    let arguments = pod.containers[0].args.clone().unwrap();
    assert_eq!(
        arguments,
        ["--config", &format!("{folder}/{}", keys[0]), "--live", &format!("{folder}/{}", keys[1])]
    );
    let environment = pod.containers[0].env.clone().unwrap();
    let shed = environment.iter().find(|one| one.name == "WSGATEWAY_SHED").unwrap();
    assert_eq!(shed.value.as_deref(), Some(&*format!("{folder}/{told}")));
    assert_eq!((objects.config.immutable, objects.live.immutable), (Some(true), None));
}

#[test]
fn each_file_that_the_configuration_names_is_mounted_where_it_says() {
    use wsgateway_config::{GatewayConfig, NatsAuth, NatsUser, Source};

    let objects = built(FULL, true);
    let text = |map: &ConfigMap| map.data.as_ref().unwrap().values().next().unwrap().clone();
    let config = GatewayConfig::parse(&text(&objects.config)).unwrap();
    let Source::JetStream(source) = config.source else { panic!() };
    let (auth, tls) = (source.auth.unwrap(), source.tls.unwrap());
    let NatsAuth::Password { user: NatsUser::File(user), password } = auth else { panic!() };
    let named =
        [user, password, tls.ca_file.unwrap(), tls.cert_file.unwrap(), tls.key_file.unwrap()];

    assert_eq!(mounted(&pod(&objects), "nats"), named);

    let live: Value = yaml::from_str(&text(&objects.live)).unwrap();
    let jwt = &live["auth"]["jwt"];
    let keys = jwt["keys"].as_array().unwrap().iter().map(|key| &key["file"]);
    let named: Vec<_> =
        keys.chain([&jwt["jwks"]["caFile"]]).map(|file| file.as_str().unwrap()).collect();
    assert_eq!(
        mounted(&pod(&objects), "auth"),
        named.iter().map(PathBuf::from).collect::<Vec<_>>()
    );
}

/// Where the gateway finds the files of a volume with Secrets.
fn mounted(pod: &PodSpec, volume: &str) -> Vec<PathBuf> {
    let mounts = pod.containers[0].volume_mounts.as_ref().unwrap();
    let folder = &mounts.iter().find(|mount| mount.name == volume).unwrap().mount_path;
    let volumes = pod.volumes.as_ref().unwrap();
    let volume = volumes.iter().find(|given| given.name == volume).unwrap();
    let sources = volume.projected.as_ref().unwrap().sources.as_ref().unwrap();
    let items =
        sources.iter().flat_map(|source| source.secret.as_ref().unwrap().items.iter().flatten());
    items.map(|item| PathBuf::from(folder).join(&item.path)).collect()
}

#[test]
fn a_key_and_an_authority_in_the_same_key_of_a_secret_are_one_file() {
    let objects = with(
        "\n  auth: { jwt: { keys: [{ secret: { name: a, key: b } }], algorithms: [RS256], \
         jwks: { url: 'https://a/b', caSecret: { name: a, key: b } } } }\n",
    );
    assert_eq!(mounted(&pod(&objects), "auth"), [PathBuf::from("/etc/wsgateway-auth/a/b")]);
}
