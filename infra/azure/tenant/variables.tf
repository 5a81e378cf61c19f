variable "tenant_id" {
  description = "The Entra tenant whose Defender is read. The storage account must belong to it too: Event Grid delivers to no other tenant's queue."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", var.tenant_id))
    error_message = "Give tenant_id as the tenant's id, a GUID in lower case such as 00000000-0000-0000-0000-000000000000."
  }
}

variable "subscription_id" {
  description = "The Azure subscription that pays for the storage account."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", var.subscription_id))
    error_message = "Give subscription_id as the subscription's id, a GUID in lower case."
  }
}

variable "storage_account_name" {
  description = "The storage account's name, unique in all of Azure."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]{3,24}$", var.storage_account_name))
    error_message = "Give storage_account_name as 3 to 24 lower-case letters and digits."
  }
}

variable "location" {
  description = "The Azure region, such as westeurope. Take the one where Defender keeps the tenant's data."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]+$", var.location))
    error_message = "Give location as Azure spells it in commands, in lower case without spaces, such as westeurope."
  }
}

variable "resource_group_name" {
  description = "The resource group that is made for all of this."
  type        = string
  default     = "muster"

  validation {
    condition     = can(regex("^[A-Za-z0-9_().-]{1,89}[A-Za-z0-9_()-]$", var.resource_group_name))
    error_message = "Give resource_group_name as 2 to 90 letters, digits and _().- with no dot at its end."
  }
}

variable "queue_name" {
  description = "The queue in which new blobs are announced."
  type        = string
  default     = "muster-hints"

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9]|-[a-z0-9]){2,62}$", var.queue_name)) && length(var.queue_name) <= 63
    error_message = "Give queue_name as 3 to 63 lower-case letters, digits and single hyphens between them."
  }
}

variable "display_name" {
  description = "What the application is called in your tenant."
  type        = string
  default     = "Muster"

  validation {
    condition     = length(trimspace(var.display_name)) >= 3 && length(var.display_name) <= 120
    error_message = "Give a display_name of 3 to 120 characters."
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
  description = "Whether the provider may read the device inventory too."
  type        = bool
  default     = true
}

variable "replication" {
  description = "How the storage account is replicated. The data is on its way elsewhere, so one place is enough."
  type        = string
  default     = "LRS"

  validation {
    condition     = contains(["LRS", "ZRS", "GRS", "GZRS"], var.replication)
    error_message = "Choose replication among LRS, ZRS, GRS and GZRS."
  }
}

variable "retention_days" {
  description = "After how many days without a change a blob of the export is deleted. The provider reads within minutes, and needs the days in which it is out of order."
  type        = number
  default     = 14

  validation {
    condition     = var.retention_days >= 3 && var.retention_days <= 3650 && floor(var.retention_days) == var.retention_days
    error_message = "Give retention_days as a whole number from 3 to 3650: a blob goes on growing for a day."
  }
}

variable "allowed_ip_ranges" {
  description = "The addresses from which the provider reads (public IPv4, single or CIDR). None means every network: Entra decides alone."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for range in var.allowed_ip_ranges : can(regex("^[0-9]{1,3}([.][0-9]{1,3}){3}(/([0-9]|[12][0-9]|30))?$", range))])
    error_message = "Give allowed_ip_ranges as IPv4 addresses or CIDR ranges up to /30. Azure takes no /31 or /32: give the address alone."
  }
}

variable "shared_keys" {
  description = "Whether the account's keys open it. Set it to true only if Defender's export is refused or stays empty for a day without it."
  type        = bool
  default     = false
}

variable "credential" {
  description = "How the application proves who it is: federated (no secret at all), certificate, client_secret, or kept once the provider holds one and renews it."
  type        = string
  default     = "federated"

  validation {
    condition     = contains(["federated", "certificate", "client_secret", "kept"], var.credential)
    error_message = "Choose credential among federated, certificate, client_secret and kept."
  }
}

variable "identity_issuer" {
  description = "For federated: the issuer of the provider's tokens, which the provider tells you."
  type        = string
  default     = null

  validation {
    condition     = var.credential != "federated" || can(regex("^https://[^[:space:]]{1,590}$", var.identity_issuer))
    error_message = "A federated credential needs identity_issuer, an https:// address: ask your provider. If it has none, choose credential = \"certificate\" or \"client_secret\"."
  }
}

variable "identity_subject" {
  description = "For federated: the subject of the provider's tokens, on AWS the ARN of the role STACK-entra-identity."
  type        = string
  default     = null

  validation {
    condition     = var.credential != "federated" || try(length(var.identity_subject) >= 1 && length(var.identity_subject) <= 600, false)
    error_message = "A federated credential needs identity_subject, such as arn:aws:iam::123456789012:role/muster-entra-identity: ask your provider."
  }
}

variable "certificate_pem" {
  description = "For certificate: the provider's certificate (PEM), without the private key, which stays with the provider."
  type        = string
  default     = null

  validation {
    condition     = var.credential != "certificate" || try(startswith(trimspace(var.certificate_pem), "-----BEGIN CERTIFICATE-----") && !strcontains(var.certificate_pem, "PRIVATE KEY"), false)
    error_message = "With credential = \"certificate\" give certificate_pem, one PEM certificate and nothing else: a private key has no place here."
  }
}

variable "secret_valid_days" {
  description = "For client_secret: how long the secret lives. Terraform's state holds it."
  type        = number
  default     = 180

  validation {
    condition     = var.secret_valid_days >= 7 && var.secret_valid_days <= 365 && floor(var.secret_valid_days) == var.secret_valid_days
    error_message = "Give secret_valid_days as a whole number from 7 to 365."
  }
}

variable "renews_itself" {
  description = "Whether the application may change itself (and no other that is there already), so that the provider renews its credentials without you. Microsoft's role for it covers more than credentials, and registering further applications."
  type        = bool
  default     = false
}
