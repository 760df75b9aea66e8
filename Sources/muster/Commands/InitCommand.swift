import ArgumentParser
import DrillCore
import DrillHost
import Foundation

struct InitCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init", abstract: "Writes a commented drill file to start from; it never overwrites one.")

    @Argument(help: "Where to write it; `-` is standard output.")
    var path = "drills/my-drill.yaml"

    func run() async throws {
        if path == "-" {
            try writeToOutput(Array(Self.template.utf8))
            return
        }
        let folder = (path as NSString).deletingLastPathComponent
        if !folder.isEmpty {
            do {
                try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            } catch {
                throw DrillError(.usage, "cannot make the folder: \(error.localizedDescription)", at: folder)
            }
        }
        // Exclusively: a file that somebody wrote by hand is not ours to replace.
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else {
            let reason = String(cString: strerror(errno))
            throw DrillError(
                .usage, "cannot write a new drill file: \(reason)", at: path, hints: ["Name another path."])
        }
        let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        try handle.write(contentsOf: Data(Self.template.utf8))
        try handle.close()
        Terminal(variables: ProcessInfo.processInfo.environment).write(
            "wrote \(path): set its paths, then `muster plan \(path)`\n")
    }

    /// Accepted as it stands once its paths exist; a test says so.
    static let template = """
        # A drill file of Muster. `muster schema` prints the JSON Schema for your editor, `muster plan` shows what a run would do.
        drill: my-drill                       # [a-z0-9-], in the name of every report
        description: Weekly drill of my service
        objectives:                           # what was promised; leave out what was not
          rpo: 24h                            # at most this much lost
          rto: 30m                            # at most this long until the restored set can be used
          max_backup_age: 26h                 # by the set's own name
        deadline: 2h                          # the whole run; then inconclusive, and scratch is removed

        backup:
          sets: /mnt/backups                  # one folder a set; a relative path starts at this file
          named: "%Y-%m-%d-%H-%M"             # how the folders are named (strftime, UTC)
          # fall_back: true                   # the newest set is bad: fail, and say whether the next older one is good
          # settle: 10m                       # an incomplete set with younger files is still being written
          database:
            kind: pg_dump                     # custom, directory, tar or plain (also .gz, .zst), told apart by content
            path: db_dump.sqlc                # in the set's folder
            # time_zone: Europe/Berlin        # of the machine that dumped: a dump's header bears no zone; UTC unless said
          objects:                            # one for each bucket that rows name
            - bucket: prod-user-uploads-bucket
              kind: directory                 # what `aws s3 sync s3://prod-user-uploads-bucket s3_files` wrote
              path: s3_files

        scratch:
          # directory: /var/tmp               # needs room for the restored database
          database: { kind: cluster }         # a throw-away server of our own, unix socket only
          # database: { kind: database, server: "host=drill-db user=drill" }
          keep: never                         # never | on_failure | always

        probes:
          - name: avatars
            kind: references                  # every row that names an object
            table: public.user_profiles
            key: avatar_key                   # a column or an SQL expression; NULL means no reference
            bucket: prod-user-uploads-bucket
            # form: key                       # key | url | percent_encoded
            # prefix: ""                      # put before the key
            # where: "deleted_at is null"
            # size: avatar_bytes              # expectations: NULL is "not comparable", never a match
            # checksum: { column: avatar_sha256, algorithm: sha256, encoding: hex }
            # changed_at: updated_at          # when the row last pointed here: evidence for causes
            # content: none                   # none | all | { sample: 1% }: read and hash the bytes
            orphans: report                   # ignore | report | fail
          - name: fresh
            kind: freshness                   # is the newest row young enough, seen from the recovery point?
            query: "select max(updated_at) from public.user_profiles"
            within: 24h
          # - name: no-negative-totals
          #   kind: sql
          #   query: "select id from public.orders where total < 0"
          #   expect: no_rows                 # no_rows | rows | { min: 1 } | { max: 10 } | { equals: 3 }
          # - name: app-boots
          #   kind: command                   # runs last, in scratch, with DATABASE_URL and PGHOST … set
          #   run: [./smoke.sh]
          #   timeout: 5m

        """
}
