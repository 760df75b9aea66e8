import DrillCore
import Foundation

/// Credentials of a profile: its own keys, a process, or a role that it assumes from another profile or place.
struct ProfileCredentials: Sendable {
    let environment: DrillEnvironment
    let files: ProfileFiles
    let region: String

    /// nil where the profile is not there, or says nothing of credentials.
    func credentials(_ profile: String, behind visited: [String] = []) async throws -> AWSCredentials? {
        guard let settings = files.settings(profile) else { return nil }
        let source = "profile \"\(profile)\""
        guard !visited.contains(profile) else {
            throw failure(profile, "assumes roles in a circle: \((visited + [profile]).joined(separator: ", "))")
        }
        if let arn = settings["role_arn"] { return try await role(arn, profile, settings, visited, source) }
        if let keys = Self.keys(settings, source) { return keys }
        if let process = settings["credential_process"] { return try await run(process, profile, source) }
        if settings["sso_start_url"] != nil || settings["sso_session"] != nil {
            throw failure(
                profile, "signs in through SSO, which this does not do",
                [
                    "Set `credential_process = aws configure export-credentials --profile \(profile)` in a profile of its own."
                ])
        }
        return nil
    }

    private static func keys(_ settings: [String: String], _ source: String) -> AWSCredentials? {
        guard let id = settings["aws_access_key_id"], let secret = settings["aws_secret_access_key"] else { return nil }
        return AWSCredentials(
            accessKeyID: id, secretAccessKey: Secret(secret),
            sessionToken: settings["aws_session_token"].map(Secret.init), source: source)
    }

    private func role(
        _ arn: String, _ profile: String, _ settings: [String: String], _ visited: [String], _ source: String
    ) async throws -> AWSCredentials {
        let service = TokenService(environment: environment, region: settings["region"] ?? region)
        let role = TokenService.Role(
            arn: arn, sessionName: settings["role_session_name"] ?? "muster", externalID: settings["external_id"],
            durationSeconds: settings["duration_seconds"])
        if let tokenFile = settings["web_identity_token_file"] {
            return try await service.assume(role, webIdentityTokenFile: tokenFile, source: source)
        }
        guard settings["mfa_serial"] == nil else {
            throw failure(profile, "asks for a one-time code, which nobody can type in a drill")
        }
        let keys: AWSCredentials?
        if let other = settings["source_profile"] {
            // A profile may name itself: then its own keys are meant.
            keys =
                other == profile
                ? Self.keys(settings, source) : try await credentials(other, behind: visited + [profile])
        } else {
            let metadata = MetadataEndpoints(environment: environment)
            switch settings["credential_source"] {
            case "Environment": keys = CredentialChain.fromEnvironment(environment.variables)
            case "EcsContainer": keys = try await metadata.container()
            case "Ec2InstanceMetadata": keys = try await metadata.instance()
            default:
                throw failure(
                    profile, "has a role_arn and neither source_profile, credential_source nor web_identity_token_file")
            }
        }
        guard let keys else { throw failure(profile, "finds no credentials to assume its role with") }
        return try await service.assume(role, with: keys, source: source)
    }

    private func run(_ line: String, _ profile: String, _ source: String) async throws -> AWSCredentials {
        guard let words = Self.words(line), let program = words.first else {
            throw failure(profile, "has a credential_process that cannot be read")
        }
        var command = Command(program, Array(words.dropFirst()), environment: environment.variables)
        command.timeout = .seconds(60)
        let result = try await environment.processes.run(command)
        guard result.succeeded else { throw failure(profile, "has a credential_process that \(result.endingText)") }
        return try CredentialAnswer.credentials(result.output, source: "the credential_process of \(source)")
    }

    /// Words as a shell would split them, of quotes and backslashes only; nil where a quote is not closed.
    static func words(_ line: String) -> [String]? {
        var words: [String] = []
        var current: String?
        var quote: Character?
        var rest = line[...]
        while let character = rest.popFirst() {
            if let open = quote {
                if character == open {
                    quote = nil
                } else if character == "\\", open == "\"", let next = rest.popFirst() {
                    current = (current ?? "") + String(next)
                } else {
                    current = (current ?? "") + String(character)
                }
            } else if character == "\"" || character == "'" {
                quote = character
                current = current ?? ""
            } else if character == "\\", let next = rest.popFirst() {
                current = (current ?? "") + String(next)
            } else if character.isWhitespace {
                if let word = current { words.append(word) }
                current = nil
            } else {
                current = (current ?? "") + String(character)
            }
        }
        if let word = current { words.append(word) }
        return quote == nil ? words : nil
    }

    private func failure(_ profile: String, _ what: String, _ hints: [String] = []) -> DrillError {
        DrillError(
            .couldNotLook, "profile \"\(profile)\" \(what)", at: files.places.joined(separator: ", "), hints: hints)
    }
}
