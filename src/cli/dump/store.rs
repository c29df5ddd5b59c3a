//! The store of a broker that stands alone: the nodes that Kafka keeps in ZooKeeper, and ours below `/barnabas`.

use std::path::Path;

use super::report::{DumpError, Report};
use crate::base::disk::Disk;
use crate::store::embedded;

pub(super) fn nodes(disk: &Disk, path: &Path, report: &mut Report<'_>) -> Result<(), DumpError> {
    for (path, node) in embedded::read(disk, path).map_err(DumpError::input)? {
        let data = node.data.as_deref().map(String::from_utf8_lossy);
        report.line(
            "node",
            &[
                ("path", path.into()),
                ("data", data.into()),
                ("version", node.stat.version.into()),
                ("ephemeral", node.stat.owner.is_some().into()),
            ],
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use bytes::Bytes;

    use super::super::Dump;
    use super::*;
    use crate::base::disk::Open;
    use crate::base::disk::memory::MemoryDisk;
    use crate::base::random::Random;
    use crate::store::embedded::EmbeddedStore;
    use crate::store::{CreateKind, Store};

    fn dump(disk: &Disk) -> (String, String, bool) {
        let dump = Dump {
            files: vec![PathBuf::from("/a/barnabas-store")],
            json: false,
            records: false,
        };
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        let sound = dump.write(disk, &mut out, &mut errors).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(out), text(errors), sound)
    }

    #[tokio::test]
    async fn shows_the_nodes_of_a_store_that_is_open_and_leaves_it_as_it_is() {
        let memory = MemoryDisk::new();
        let disk = Disk::memory(memory.clone());
        let directory = PathBuf::from("/a");
        disk.create_directory(&directory).unwrap();
        let (stall, random) = (Duration::from_secs(10), Random::from_seed(1));
        let store = EmbeddedStore::open(&disk, std::slice::from_ref(&directory), stall, &random)
            .await
            .unwrap();
        let create = async |path: &str, data: Option<&'static [u8]>, kind| {
            store
                .create(path, data.map(Bytes::from_static), kind)
                .await
                .unwrap();
        };
        create("/brokers", None, CreateKind::Persistent).await;
        create("/brokers/topics", Some(b""), CreateKind::Persistent).await;
        create(
            "/brokers/topics/t",
            Some(b"{\"version\":3}"),
            CreateKind::Persistent,
        )
        .await;
        create("/controller", Some(b"1"), CreateKind::Ephemeral).await;
        let bytes = || disk.read(Path::new("/a/barnabas-store"), 1 << 20).unwrap();
        let before = bytes();
        let (out, errors, sound) = dump(&disk);
        assert_eq!(
            out,
            "/a/barnabas-store\n  \
             node path: \"/\" data: null version: 0 ephemeral: false\n  \
             node path: \"/brokers\" data: null version: 0 ephemeral: false\n  \
             node path: \"/brokers/topics\" data: \"\" version: 0 ephemeral: false\n  \
             node path: \"/brokers/topics/t\" data: \"{\\\"version\\\":3}\" version: 0 ephemeral: false\n  \
             node path: \"/controller\" data: 1 version: 0 ephemeral: true\n"
        );
        assert_eq!((errors.as_str(), sound), ("", true));
        assert!(bytes() == before, "the file was written");
        store.close().await;
    }

    #[test]
    fn says_what_is_wrong_with_a_file_that_is_no_store() {
        let disk = Disk::memory(MemoryDisk::new());
        disk.create_directory(Path::new("/a")).unwrap();
        let file = disk.open(Path::new("/a/barnabas-store"), Open::New).unwrap();
        for content in ["", "no store"] {
            file.write_all_at(content.as_bytes(), 0).unwrap();
            let (_, errors, sound) = dump(&disk);
            assert!(!sound);
            assert!(errors.starts_with("/a/barnabas-store: "), "{errors}");
        }
    }
}
