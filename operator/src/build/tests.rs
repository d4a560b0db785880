//! Golden: every object of a small and of a full WsGateway, as YAML.

use std::fmt::Write as _;

use serde::Serialize;
use wsgateway_config::yaml;
use wsgateway_crds::{parse, validate};

use super::*;

const SAMPLE: &str = include_str!("../../../manifests/samples/odin.yaml");
const REDIS: &str = include_str!("../../../manifests/samples/redis.yaml");
const FULL: &str = include_str!("full.yaml");

fn built(manifest: &str, monitors: bool) -> Objects {
    let mut gateway = parse(manifest).unwrap();
    gateway.metadata.uid = Some("11111111-2222-3333-4444-555555555555".into());
    let valid = validate(&gateway).unwrap();
    let kinds = monitors.then_some(Kind::ServiceMonitor).into_iter().collect();
    let surroundings = Surroundings {
        default_image: "registry.example.com/gateway:1",
        kinds: &kinds,
        admin_name: admin_name(&valid.name, |_| false),
    };
    objects(&valid, &surroundings).unwrap()
}

fn text(objects: &Objects) -> String {
    let mut text = String::new();
    let mut add = |object: &dyn erased::Yaml| writeln!(text, "---\n{}", object.yaml()).unwrap();
    add(&objects.service_account);
    add(&objects.config_map);
    add(&objects.deployment);
    add(&objects.clients);
    add(&objects.admin);
    add(&objects.disruption);
    objects.autoscaler.iter().for_each(|object| add(object));
    objects.monitor.iter().for_each(|object| add(object));
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
    let config = objects.config_map.data.unwrap().remove("gateway.yaml").unwrap();
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
    assert_eq!(kinds.len(), 8);
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
fn a_change_of_the_configuration_changes_the_pod_template_and_a_change_of_scale_does_not() {
    let template = |manifest: &str| built(manifest, true).deployment.spec.unwrap().template;
    assert_ne!(
        template(FULL),
        template(&FULL.replace("connectionsPerPod: 500", "connectionsPerPod: 501"))
    );
    assert_eq!(template(FULL), template(&FULL.replace("replicas: 4 #", "replicas: 5 #")));
}

#[test]
fn each_file_that_the_configuration_names_is_mounted_where_it_says() {
    use wsgateway_config::{GatewayConfig, NatsAuth, NatsUser, Source};

    let objects = built(FULL, true);
    let text = &objects.config_map.data.as_ref().unwrap()["gateway.yaml"];
    let Source::JetStream(source) = GatewayConfig::parse(text).unwrap().source else { panic!() };
    let (auth, tls) = (source.auth.unwrap(), source.tls.unwrap());
    let NatsAuth::Password { user: NatsUser::File(user), password } = auth else { panic!() };
    let named =
        [user, password, tls.ca_file.unwrap(), tls.cert_file.unwrap(), tls.key_file.unwrap()];

    let pod = objects.deployment.spec.unwrap().template.spec.unwrap();
    let volumes = pod.volumes.unwrap();
    let volume = volumes.iter().find(|volume| volume.name == "nats").unwrap();
    let mounts = pod.containers[0].volume_mounts.as_ref().unwrap();
    let folder = &mounts.iter().find(|mount| mount.name == "nats").unwrap().mount_path;
    let sources = volume.projected.as_ref().unwrap().sources.as_ref().unwrap();
    let items =
        sources.iter().flat_map(|source| source.secret.as_ref().unwrap().items.iter().flatten());
    let mounted: Vec<_> = items.map(|item| std::path::Path::new(folder).join(&item.path)).collect();
    assert_eq!(mounted, named);
}
