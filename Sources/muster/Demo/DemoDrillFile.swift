/// The drill file of the sample application.
let demoDrillFile = """
    # The sample application of `muster demo`. Run it again: muster run demo.yaml
    drill: demo
    description: Users with avatars, and documents, in two buckets
    objectives: { rpo: 24h, rto: 10m, max_backup_age: 26h }

    backup:
      sets: backups
      named: "%Y-%m-%d-%H-%M-%S"
      database: { kind: pg_dump, path: db_dump.sqlc }
      objects:
        - { bucket: avatars, kind: directory, path: s3_files/avatars }
        - { bucket: documents, kind: directory, path: s3_files/documents }

    probes:
      - name: avatars
        kind: references
        table: public.users
        key: avatar_key
        bucket: avatars
        size: avatar_bytes
        checksum: { column: avatar_sha256, algorithm: sha256 }
        content: all
        changed_at: updated_at
        orphans: report
      - name: documents
        kind: references
        table: public.documents
        key: object_key
        bucket: documents
        size: size_bytes
        checksum: { column: sha256, algorithm: sha256 }
        content: all
        changed_at: updated_at
        orphans: report
      - name: fresh
        kind: freshness
        query: "select max(updated_at) from public.users"
        within: 1h
      - name: owners
        kind: sql
        query: "select d.id from public.documents d left join public.users u on u.id = d.owner_id where u.id is null"
        expect: no_rows

    """
