variable "home_tenant_id" {
  description = "Your own Entra tenant, in which the applications are registered and from which operators sign in."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", var.home_tenant_id))
    error_message = "Give home_tenant_id as the tenant's id, a GUID in lower case such as 00000000-0000-0000-0000-000000000000."
  }
}

variable "public_url" {
  description = "Muster's public origin, as MUSTER_PUBLIC_URL or the stack's parameter PublicUrl has it. Redirect URIs are exact, so it must be the one that browsers see."
  type        = string

  validation {
    condition     = can(regex("^(https://[a-z0-9.-]+|http://localhost)(:[0-9]+)?$", var.public_url))
    error_message = "Give public_url as an origin in lower case without a slash at its end, such as https://muster.example.com. Entra takes plain http for localhost alone."
  }
}

variable "display_name" {
  description = "What customers' administrators read when Microsoft asks them to approve, such as \"Example Security alerts\"."
  type        = string

  validation {
    condition     = length(trimspace(var.display_name)) >= 3 && length(var.display_name) <= 110
    error_message = "Give a display_name of 3 to 110 characters, in which customers recognize you."
  }
}

variable "cloud" {
  description = "Microsoft's cloud, in the words of MUSTER_CLOUD: commercial, gcc, gcc-high or dod."
  type        = string
  default     = "commercial"

  validation {
    condition     = contains(["commercial", "gcc", "gcc-high", "dod"], var.cloud)
    error_message = "Choose cloud among commercial, gcc, gcc-high and dod, as MUSTER_CLOUD."
  }
}

variable "machines" {
  description = "Whether customers are asked for their device inventories too. Consent always asks for everything that the application lists."
  type        = bool
  default     = true
}

variable "credential" {
  description = "How the applications prove who they are: federated (no secret at all), certificate, client_secret, or kept once Muster holds a certificate or secret and renews it itself: then Terraform makes none and touches none."
  type        = string
  default     = "federated"

  validation {
    condition     = contains(["federated", "certificate", "client_secret", "kept"], var.credential)
    error_message = "Choose credential among federated, certificate, client_secret and kept."
  }
}

variable "identity_issuer" {
  description = "For federated: the issuer of the platform's tokens. On AWS it is the account's, from `aws iam get-outbound-web-identity-federation-info`."
  type        = string
  default     = null

  validation {
    condition     = var.credential != "federated" || can(regex("^https://[^[:space:]]{1,590}$", var.identity_issuer))
    error_message = "A federated credential needs identity_issuer, the https:// address of the platform that issues the tokens, exactly as its tokens spell it in `iss`. Without such a platform choose credential = \"certificate\" or \"client_secret\"."
  }
}

variable "identity_subjects" {
  description = "For federated: each stage's name with the subject of its tokens. On AWS that is the ARN of the stack's role STACK-entra-identity. One role for each stage; Entra takes 20."
  type        = map(string)
  default     = {}

  validation {
    condition     = var.credential != "federated" || (length(var.identity_subjects) >= 1 && length(var.identity_subjects) <= 20)
    error_message = "A federated credential needs identity_subjects, 1 to 20 of them, such as { production = \"arn:aws:iam::123456789012:role/muster-entra-identity\" }."
  }

  validation {
    condition     = alltrue([for stage, subject in var.identity_subjects : can(regex("^[a-z0-9-]{1,40}$", stage)) && length(subject) >= 1 && length(subject) <= 600])
    error_message = "Name each stage in identity_subjects with 1 to 40 lower-case letters, digits and hyphens; its subject has at most 600 characters."
  }

  validation {
    condition     = length(distinct(values(var.identity_subjects))) == length(var.identity_subjects)
    error_message = "Two stages in identity_subjects have the same subject. Give each stage a role of its own."
  }
}

variable "certificates" {
  description = "For certificate: the certificates (PEM, without private keys) of the two applications, as { app = file(\"app.pem\"), console = file(\"console.pem\") }."
  type        = map(string)
  default     = {}

  validation {
    condition     = var.credential != "certificate" || toset(keys(var.certificates)) == toset(["app", "console"])
    error_message = "With credential = \"certificate\" give certificates for both applications: { app = …, console = … }."
  }

  validation {
    condition     = alltrue([for pem in values(var.certificates) : startswith(trimspace(pem), "-----BEGIN CERTIFICATE-----") && !strcontains(pem, "PRIVATE KEY")])
    error_message = "Each of certificates is one PEM certificate, and nothing else: a private key has no place in Terraform, whose state would keep it."
  }
}

variable "secret_valid_days" {
  description = "For client_secret: how long the first secret lives. Muster replaces it when half of that is over. On AWS the stack's schedule does so instead, every 90 days, and the daily check warns of a secret that would end before."
  type        = number
  default     = 180

  validation {
    condition     = var.secret_valid_days >= 7 && var.secret_valid_days <= 365 && floor(var.secret_valid_days) == var.secret_valid_days
    error_message = "Give secret_valid_days as a whole number from 7 to 365."
  }
}

variable "renews_itself" {
  description = "Whether the applications may change themselves (and no other that is there already): renew what ends, and take away what an earlier kind of credential left. Microsoft's role for it covers more than credentials, and registering further applications; Muster uses it for credentials alone. For federated ones that never had another, false is as good."
  type        = bool
  default     = true
  nullable    = false
}

variable "operators" {
  description = "Object ids of the users, groups and service principals of your tenant that may do everything in the console."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for id in var.operators : can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", id))])
    error_message = "Give operators by object id, such as the output of: az ad user show --id olga@example.com --query id --output tsv"
  }
}

variable "readers" {
  description = "Object ids of those that may look at the console, and change nothing."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for id in var.readers : can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", id))])
    error_message = "Give readers by object id, such as the output of: az ad group show --group \"SOC analysts\" --query id --output tsv"
  }
}
